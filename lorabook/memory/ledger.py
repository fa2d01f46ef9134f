"""Predicting the memory of a training step, component by component, from sizes alone.

Everything is arithmetic on the sizes of a Shape: nothing is built or run, and a prediction takes well under a
millisecond once its sizes were met. What is counted are tensors. The CUDA context, the work space of matrix
libraries and what the allocator rounds up come on top.
"""

from dataclasses import dataclass
from functools import lru_cache

from lorabook.lora import LoRAConfig
from lorabook.loss import CHUNK_LOGITS
from lorabook.memory.activations import Policy, block, linear, norm
from lorabook.memory.plan import Plan
from lorabook.memory.shape import Module, Shape, shape_of

FORMATS = {"fp32": 4, "fp16": 2, "bf16": 2, "nf4": 2}  # bytes of a number that is not in 4 bits
MOMENTS = {"adamw": 8, "sgd": 0}  # bytes of optimizer state a trained number
# bitsandbytes: a block of 64 numbers has 64 half bytes and a scale; with double quantisation, as in QLoRA, the scale
# is one byte, and 256 scales share one fp32 number
NF4_BYTES = 1 / 2 + 1 / 64 + 4 / (64 * 256)
EIGHT_BIT_BLOCK, EIGHT_BIT_LEAST = 256, 4096  # bitsandbytes: numbers that share a scale; smaller tensors stay in fp32


@dataclass(frozen=True)
class Ledger:
    """Predicted bytes of one training step.

    `components` are full sizes: "activations" is what the forward pass saves and the working memory of one block,
    "logits and loss" what the loss needs at its most. They are not all alive at once: gradients come into being while
    activations go. So their sum is an upper bound, and `predicted_peak` the largest of `moments`.

    Attributes:
        trainable, parameters: numbers trained, and all numbers of the model with its adapter.
        saved: bytes that the forward pass saves for the backward pass, without working memory.
        moments: bytes alive at the moments that can be the peak.
    """

    components: dict[str, int]
    trainable: int
    parameters: int
    saved: int
    moments: dict[str, int]

    @property
    def predicted_peak(self) -> int:
        return max(self.moments.values())

    @property
    def static(self) -> int:
        """Weights, buffers, gradients and optimizer state: what does not depend on the batch."""
        batch = ("activations", "logits and loss")
        return sum(size for name, size in self.components.items() if name not in batch)

    def table(self) -> str:
        """One line a component."""
        return "\n".join(f"{name}: {size:,}" for name, size in self.components.items())


@dataclass(frozen=True)
class _Work:
    """Bytes that come and go in a step: saved in all, working memory of a block, of the loss, and three moments.

    `kept`: what of the loss stays for the backward pass. `top` and `bottom`: all alive of activations while the last
    and the first block run backward, gradients of the block at work included. `below`: gradients that come after it. `end`: while the
    embedding's gradient is formed.
    """

    saved: float
    working: float
    loss: float
    kept: float
    forward: float
    top: float
    bottom: float
    below: float
    end: float

    def mixed_with(self, other: "_Work", share: float) -> "_Work":
        return _Work(*(share * a + (1 - share) * b for a, b in zip(vars(self).values(), vars(other).values())))


def ledger(model: "str | Shape", plan: Plan, *, foreach: bool = True) -> Ledger:
    """Predict the memory of a training step of `plan`, from its second step on, when the optimizer has its state.

    Trained numbers are fp32 with an fp32 gradient. A share s of the parameters trained without LoRA trains s of them,
    spread evenly, and its activations lie between those of a model that is frozen, through which the gradient only
    flows, and those of full fine-tuning, in proportion to s.

    Args:
        model: what `shape_of` takes.
        foreach: the optimizer works on all tensors at once, as torch does by default on CUDA, and needs 4 bytes a
            trained number beside its state; otherwise on one tensor after the other, as on a CPU.

    Raises:
        SettingError: a model that `shape_of` refuses, a target that matches nothing, a sequence longer than the
            model's positions.
    """
    shape = shape_of(model)
    full = not isinstance(plan.method, LoRAConfig)
    tensors = _trained_tensors(shape, plan)
    trainable = sum(tensors)
    if full:
        share = float(plan.method)
        trainable = round(share * trainable)
        frozen = _frozen_bytes(shape, plan) * (1 - share) if share < 1 else 0
        work = _work(shape, plan, True)
        if share < 1:
            work = work.mixed_with(_work(shape, plan, None), share)
        parameters = shape.parameters
    else:
        frozen = _frozen_bytes(shape, plan)
        work = _work(shape, plan, False)
        parameters = shape.parameters + trainable
    state = _state_bytes(tensors, plan, trainable)
    weights = round(frozen) + shape.buffer_bytes + 4 * trainable + state
    gradients = 4 * trainable
    scratch = 4 * trainable if foreach else 8 * min(max(tensors), trainable)
    if plan.optimizer != "adamw":
        scratch = 0
    moments = {
        "forward": weights + work.forward,
        "loss": weights + work.saved + work.loss,
        "start of backward": weights + work.top,
        "end of backward": weights + gradients + max(work.bottom - work.below, work.end),
        "optimizer step": weights + gradients + scratch,
    }
    components = {
        "frozen weights": round(frozen),
        "buffers": shape.buffer_bytes,
        "trainable weights": 4 * trainable,
        "gradients": gradients,
        "optimizer state": state,
        "activations": round(work.saved + work.working),
        "logits and loss": round(work.loss),
    }
    return Ledger(
        components, trainable, parameters, round(work.saved + work.kept), {k: round(v) for k, v in moments.items()}
    )


@lru_cache(maxsize=256)
def _adapted(shape: Shape, targets: tuple[str, ...]) -> tuple[Module, ...]:
    return tuple(shape.matched(targets))


@lru_cache(maxsize=1024)
def _layers(shape: Shape, targets: tuple[str, ...]) -> tuple[frozenset[str], ...]:
    """The adapted linear layers of every block, by their names within it."""
    hits: list[set[str]] = [set() for _ in range(shape.layers)]
    start = "model.layers." if shape.family == "llama" else "transformer.h."
    for module in _adapted(shape, targets):
        if module.name.startswith(start):
            number, _, name = module.name[len(start) :].partition(".")
            hits[int(number)].add(name)
    return tuple(frozenset(names) for names in hits)


def _trained_tensors(shape: Shape, plan: Plan) -> list[int]:
    """Numbers in every trained tensor."""
    if isinstance(plan.method, LoRAConfig):
        r = plan.method.r
        return [size for m in _adapted(shape, plan.method.targets) for size in (r * m.k, r * m.d)]
    linears = [size for m in shape.linears for size in (m.d * m.k, *[m.d] * m.bias)]
    tables = [m.d * m.k for m in shape.modules if m.embedding or (m is shape.head and not shape.tied)]
    norms = [shape.width] * (shape.norm_parameters // shape.width)
    return linears * shape.layers + tables + norms


def _frozen_bytes(shape: Shape, plan: Plan) -> int:
    size = FORMATS[plan.weights]
    if plan.weights != "nf4":
        return size * shape.parameters
    packed = shape.layers * sum(m.d * m.k for m in shape.linears)
    return round(NF4_BYTES * packed) + size * (shape.parameters - packed)


def _state_bytes(tensors: list[int], plan: Plan, trainable: int) -> int:
    if plan.optimizer != "adamw8bit":
        return MOMENTS[plan.optimizer] * trainable
    small = sum(size for size in tensors if size < EIGHT_BIT_LEAST)
    blocks = sum(-(-size // EIGHT_BIT_BLOCK) for size in tensors if size >= EIGHT_BIT_LEAST)
    whole = 8 * small + 2 * (sum(tensors) - small) + 8 * blocks
    return round(whole * trainable / sum(tensors))


def _work(shape: Shape, plan: Plan, full: bool | None) -> _Work:
    """`full`: True for full fine-tuning, False for the LoRA of `plan`, None where nothing but the gradient passes."""
    policy = Policy(plan, shape.family == "llama", bool(full))
    n, h, e = plan.tokens, shape.width, policy.e
    targets = plan.method.targets if isinstance(plan.method, LoRAConfig) else ()
    layers = _layers(shape, targets) if targets else (frozenset(),) * shape.layers
    tables = [m for m in _adapted(shape, targets) if m.embedding] if targets else []
    # where activations are recomputed, transformers makes the embedding's output require a gradient
    live = full is not False or bool(tables) or plan.checkpointing
    leaf = plan.checkpointing and not full and not policy.llama and not any(m.name.endswith("wte") for m in tables)
    blocks = []
    for names in layers:
        blocks.append(block(shape, plan, bool(full), names, live))
        live = live or bool(names)
    shared = e * n * h * leaf + (2 * e * plan.sequence * shape.head_dim if policy.llama else 0)
    mask = e * plan.batch * plan.sequence**2 if plan.attention == "eager" else 0
    shared += mask * plan.checkpointing
    before = shared + _embedding_saved(plan, policy, tables, h)
    ends = norm("final norm", policy, h, live).saved + before
    checkpoint = e * n * h
    # the block's input, where its first norm does not save that very tensor
    again = checkpoint if plan.checkpointing and e == 2 else 0
    kept = [checkpoint if plan.checkpointing else b.saved for b in blocks]
    saved = sum(kept) + ends
    loss, loss_kept = _loss(shape, plan, policy, targets, full)
    local = e * n * h + (0 if policy.llama else e * plan.sequence * h)
    peaks = [max(b.forward, b.backward) if plan.checkpointing else b.backward for b in blocks]
    extra = [p - (0 if plan.checkpointing else b.saved) for p, b in zip(peaks, blocks)]
    head = 4 * shape.vocabulary * h if full else 0
    top = before + sum(kept[:-1]) + again + peaks[-1] + head
    bottom = before + again + peaks[0]
    forward = before + sum(kept[:-1]) + blocks[-1].forward + local + mask * (not plan.checkpointing)
    working = max(0, *extra, forward - saved)
    end = 8 * shape.vocabulary * h if full and shape.tied else 0
    below = blocks[0].gradients + 4 * sum(plan.method.r * (m.d + m.k) for m in tables)
    if full:
        below += 4 * sum(m.d * m.k for m in shape.modules if m.embedding) - (head if shape.tied else 0)
    return _Work(saved, working, loss, loss_kept, forward, top, bottom, below, end)


def _embedding_saved(plan: Plan, p: Policy, tables: list[Module], h: int) -> int:
    saved = 0
    for m in tables:
        assert isinstance(plan.method, LoRAConfig)
        tokens = plan.tokens if m.name.endswith(("wte", "embed_tokens")) else plan.sequence
        saved += p.c * tokens * plan.method.r + (2 * plan.method.r * h if p.mixed else 0)
    return saved


def _loss(shape: Shape, plan: Plan, p: Policy, targets: tuple[str, ...], full: bool | None) -> tuple[int, int]:
    """Bytes of the loss at their most, and those it keeps for the backward pass."""
    n, h, v, labels = plan.tokens, shape.width, shape.vocabulary, plan.label_tokens
    out = p.norm_out
    lora_head = any(m is shape.head for m in _adapted(shape, targets)) if targets else False
    if plan.loss == "plain":
        return out * n * h + 12 * n * v, 4 * n * v
    rows = min(labels, max(1, CHUNK_LOGITS // v))
    more = min(rows, labels - rows)  # in the second chunk, while the first one's logits are still there
    chosen = out * h * labels
    if not full and not lora_head:
        logits = (
            max(rows * (p.c + 4 * p.mixed), 4 * rows + more * (p.c + 4 * p.mixed)) * v
            if more
            else (p.c + 4 * p.mixed) * rows * v
        )
        return out * h * n + 2 * chosen + logits + rows * h * p.c, chosen
    head = 0 if lora_head else v * h * (2 * p.mixed + p.c * bool(more))
    return out * h * n + chosen + 12 * rows * v + head, chosen
