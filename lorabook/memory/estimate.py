"""Predicting the memory of a training step, component by component, from sizes alone.

Everything is arithmetic on a Shape: nothing is built or run, and a prediction takes well under a millisecond. What is
counted are tensors. The CUDA context, the work space of matrix libraries and what an allocator rounds up come on top.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

from lorabook.lora_config import LoRAConfig
from lorabook.memory.activations import Block, Setting, block, norm
from lorabook.memory.families import ModelLike, shape_of
from lorabook.memory.plan import Plan
from lorabook.memory.shape import Module, Shape
from lorabook.models.nf4 import nf4_bytes
from lorabook.step.chunk import chunk_rows

BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "nf4": 2}  # of a frozen parameter that is not in 4 bits
# bitsandbytes' 8-bit AdamW: 256 values of either moment share an fp32 scale; tensors below 4,096 keep fp32 moments
EIGHT_BIT_BLOCK, EIGHT_BIT_LEAST = 256, 4096


@dataclass(frozen=True)
class Estimate:
    """Predicted bytes of a training step.

    `components` holds full sizes: "activations" is what the forward pass saves, with the working memory of the block
    that needs most; "logits and loss" is what the loss needs at its most. They are never all alive at once, since
    gradients come as activations go: their sum is above what is alive in the forward pass, in the loss and when the
    backward pass starts. `moments` has the bytes alive at those moments, and at two that also need what no component
    holds: the sum of a tied embedding's two gradients, and the tensors that an optimizer's update passes through.
    `predicted_peak` is the largest.

    Attributes:
        trainable, parameters: trainable parameters, and all parameters of the model with its adapter.
        saved: bytes that the forward pass leaves for the backward pass, those of the loss included.
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
        """Weights, buffers, gradients and optimizer state, which the batch does not change."""
        batch = ("activations", "logits and loss")
        return sum(size for name, size in self.components.items() if name not in batch)


@dataclass(frozen=True)
class _Work:
    """Bytes that come and go within a step, weights and the optimizer's state left out.

    `saved` by the forward pass, `left` of it by the loss; `working` memory of a block beside `saved`; `loss` at its
    most. At the moments: `forward` through the last block, `in_loss`, `first` and `last` in the backward pass of the
    last and the first block, and `tied`, when the embedding's two gradients are added. Of all gradients `missing` are
    not formed yet at `last`.
    """

    saved: float
    left: float
    working: float
    loss: float
    forward: float
    in_loss: float
    first: float
    last: float
    tied: float
    missing: float

    def blend(self, other: "_Work", share: float) -> "_Work":
        pairs = zip(vars(self).values(), vars(other).values())
        return _Work(*(share * a + (1 - share) * b for a, b in pairs))


def estimate(model: ModelLike, plan: Plan) -> Estimate:
    """Predict the memory of a training step of `plan`, from the second on, when the optimizer has its state.

    With several GPUs it is the memory of each. DDP keeps a second copy of the gradients, its buckets. With `plan.shard`
    a GPU holds 1/N of weights, gradients and optimizer state, and beside it, while the model runs, the whole weights of
    what is outside of the blocks, of the block at hand and of the next, which is on its way.

    Trainable parameters and their gradients are fp32. With a share s of the parameters trained (no LoRA), s of every
    weight's bytes is counted as trained, and activations are s parts those of full fine-tuning and 1 - s parts those
    of a frozen model that the gradient only flows through.

    With 16-bit and 4-bit weights the step is a GPU's: autocast, one byte a value of a dropout mask, and an optimizer
    that updates all tensors at once, as torch's do on CUDA. With fp32 weights it is the CPU's.

    Raises:
        SettingError: a model that `shape_of` refuses, a target that matches nothing, a sequence longer than the
            model's positions.
    """
    shape = shape_of(model)
    shape.check_sequence(plan.sequence)
    tensors = _trained_tensors(shape, plan.method)
    trainable, parameters, frozen = sum(tensors), shape.parameters, _frozen_bytes(shape, plan)
    if isinstance(plan.method, LoRAConfig):
        parameters += trainable
        work = _work(shape, plan, full=False)
    else:
        trainable, frozen = round(plan.method * trainable), round((1 - plan.method) * frozen)
        work = _work(shape, plan, full=True)
        if plan.method < 1:
            work = work.blend(_work(shape, plan, full=False), plan.method)
    gradients, state = 4 * trainable, round(_state_bytes(tensors, plan) * trainable / sum(tensors))
    trained, update, gathered, unreduced = 4 * trainable, 0, 0, -work.missing
    if plan.optimizer == "adamw":
        update = 4 * trainable if plan.weights != "fp32" else min(_update_bytes(tensors), 12 * trainable)
    buckets = gradients if plan.gpus > 1 and not plan.shard else 0
    if plan.shard:
        sizes = (frozen, trained, gradients, state, update)
        frozen, trained, gradients, state, update = (math.ceil(size / plan.gpus) for size in sizes)
        gathered, unreduced = _gathered_bytes(shape, plan)
    resting = frozen + shape.buffer_bytes + trained + state + buckets
    held = resting + gathered
    moments = {
        "forward": held + work.forward,
        "loss": held + work.in_loss,
        "start of backward": held + work.first,
        "end of backward": held + gradients + max(work.last + unreduced, work.tied),
        "optimizer step": resting + gradients + update,
    }
    components = {
        "frozen weights": frozen,
        "buffers": shape.buffer_bytes,
        "trainable weights": trained,
        "gradients": gradients,
        "optimizer state": state,
        **({"buckets of DDP": buckets} if buckets else {}),
        **({"gathered weights": gathered} if gathered else {}),
        "activations": round(work.saved + work.working),
        "logits and loss": round(work.loss),
    }
    whole = {name: round(size) for name, size in moments.items()}
    return Estimate(components, trainable, parameters, round(work.saved + work.left), whole)


@lru_cache(maxsize=512)
def _adapted(shape: Shape, targets: tuple[str, ...]) -> tuple[tuple[frozenset[str], ...], tuple[Module, ...]]:
    """What LoRA `targets` hit: linear layers of every block by their names within it, then embeddings and the head."""
    inside: list[set[str]] = [set() for _ in range(shape.layers)]
    others = []
    for module in shape.matched(targets):
        layer, name = shape.place(module)
        if layer is None:
            others.append(module)
        else:
            inside[layer].add(name)
    return tuple(frozenset(names) for names in inside), tuple(others)


@lru_cache(maxsize=512)
def _trained_tensors(shape: Shape, method: LoRAConfig | float) -> tuple[int, ...]:
    """Parameters in every trained tensor; without LoRA, in every tensor."""
    if isinstance(method, LoRAConfig):
        return tuple(method.r * size for m in shape.matched(method.targets) for size in (m.k, m.d))
    linears = [size for m in shape.linears for size in ((m.d * m.k, m.d) if m.bias else (m.d * m.k,))]
    norms = [shape.width] * (shape.norm_parameters // shape.width)
    head = () if shape.tied else (shape.head.parameters,)
    return (*(m.parameters for m in shape.modules if m.embedding), *linears * shape.layers, *norms, *head)


def _frozen_bytes(shape: Shape, plan: Plan) -> int:
    """With 4-bit weights, what is not a linear layer's weight, such as biases and the head, is in 16 bits."""
    if plan.weights != "nf4":
        return BYTES[plan.weights] * shape.parameters
    sizes = [m.d * m.k for m in shape.linears]
    packed = shape.layers * sum(nf4_bytes(size) for size in sizes)
    return packed + BYTES["nf4"] * (shape.parameters - shape.layers * sum(sizes))


def _gathered_bytes(shape: Shape, plan: Plan) -> tuple[int, int]:
    """On a GPU that holds a shard: of the weights that it has whole, and of gradients before they are cut.

    Whole are the tables with the last norm, and two blocks; their gradients, of one block, with a copy of the larger
    of the two to reduce. Of the blocks that with most adapters counts.
    """
    norms = shape.norm_parameters // (2 * shape.layers + 1)
    outside = sum(m.parameters for m in shape.tables) + norms
    inside = sum(m.parameters for m in shape.linears) + 2 * norms
    if isinstance(plan.method, LoRAConfig):
        layers, others = _adapted(shape, plan.method.targets)
        adapters = max(sum(m.d + m.k for m in shape.linears if m.name in names) for names in layers)
        factors = [4 * plan.method.r * size for size in (sum(m.d + m.k for m in others), adapters)]
        frozen = BYTES[plan.weights] * (outside + 2 * inside)
    else:
        factors = [round(4 * plan.method * size) for size in (outside, inside)]
        frozen = round((1 - plan.method) * BYTES[plan.weights] * (outside + 2 * inside))
    return frozen + factors[0] + 2 * factors[1], sum(factors) + max(factors)


def _state_bytes(tensors: tuple[int, ...], plan: Plan) -> int:
    """Of the optimizer, for `tensors` trained whole. torch's count of steps, on the host, is left out."""
    if plan.optimizer == "sgd":
        return 0
    if plan.optimizer == "adamw":
        return 8 * sum(tensors)
    large = [size for size in tensors if size >= EIGHT_BIT_LEAST]
    scales = sum(-(-size // EIGHT_BIT_BLOCK) for size in large)
    return 8 * (sum(tensors) - sum(large)) + 2 * sum(large) + 8 * scales


@lru_cache(maxsize=512)
def _update_bytes(tensors: tuple[int, ...]) -> int:
    """AdamW's, tensor by tensor: root and quotient, while the quotient of the tensor before is still there."""
    return max(8 * size + 4 * before for before, size in zip((0, *tensors), tensors))


def _work(shape: Shape, plan: Plan, full: bool) -> _Work:
    """Full fine-tuning, or with `full` False the LoRA of `plan`, or without LoRA a gradient that only flows through."""
    s = Setting(shape, plan, full)
    n, h, lora = plan.tokens, shape.width, isinstance(plan.method, LoRAConfig)
    layers, others = _adapted(shape, s.lora.targets) if lora else ((frozenset(),) * shape.layers, ())
    tables = [m for m in others if m.embedding]
    stream, again = s.e * n * h, plan.checkpointing
    live = full or not lora or bool(tables)
    mask = s.e * plan.batch * plan.sequence**2 if plan.attention == "eager" else 0
    start = mask * again + _embedding_bytes(s, tables)
    made: dict[tuple[frozenset[str], bool], Block] = {}  # most blocks are alike
    blocks = []
    for names in layers:
        key = (names, live)
        if key not in made:
            made[key] = block(s, names, live)
        blocks.append(made[key])
        live = live or bool(names)
    kept = [stream if b.saved and again else b.saved for b in blocks]
    copies = _weight_copies(s, layers, tables) if again else 0
    saved = start + sum(kept) + norm("final norm", s, live).saved + copies
    in_loss, left, back, head = _loss(s, any(not m.embedding for m in others))

    def backward(layer: int) -> int:
        b = blocks[layer]
        recomputed = stream * (s.e == 2) + max(b.forward, b.backward)
        return start + sum(kept[:layer]) + (recomputed if again else b.backward)

    # the model's forward function holds on to the embeddings that it added
    local = stream + (0 if shape.family.rotary else s.e * plan.sequence * h) + mask * (not again)
    forward = start + sum(kept[:-1]) + blocks[-1].forward + local + copies
    first, last = backward(shape.layers - 1), backward(0)
    outside = sum(m.parameters for m in shape.tables) if full else s.lora.r * sum(m.d + m.k for m in tables)
    return _Work(
        saved=saved,
        left=left,
        working=max(0, forward - saved, first - saved, last - saved),
        loss=max(in_loss, back),
        forward=forward,
        in_loss=max(saved + in_loss, saved - copies + back),
        first=first + head,
        last=last,
        tied=8 * shape.vocabulary * h if full and shape.tied else 0,
        missing=blocks[0].gradients + 4 * outside - head,
    )


def _embedding_bytes(s: Setting, tables: list[Module]) -> int:
    """Saved before the first block: a dropout's mask, adapters' r values a token, rotary sines and cosines."""
    plan, r = s.plan, s.lora.r
    saved = 2 * s.e * plan.sequence * s.shape.head_dim if s.shape.family.rotary else 0
    if s.drops("embedding") and (s.full or tables):
        saved += s.mask * plan.tokens * s.shape.width
    for m in tables:
        tokens = plan.tokens if m == s.shape.modules[0] else plan.sequence
        saved += s.c * tokens * r + 2 * r * m.d * s.mixed
    return saved


def _weight_copies(s: Setting, layers: tuple[frozenset[str], ...], tables: list[Module]) -> int:
    """The 16-bit copies of trained weights, which autocast keeps until the forward pass is over."""
    if not s.mixed:
        return 0
    if s.full:
        return 2 * s.shape.layers * sum(m.d * m.k for m in s.shape.linears)
    adapters = sum(m.d + m.k for names in layers for m in s.shape.linears if m.name in names)
    return 2 * s.lora.r * (adapters + sum(m.d for m in tables))


def _loss(s: Setting, lora_head: bool) -> tuple[int, int, int, int]:
    """Bytes of the loss in its forward pass, those it leaves, in its backward pass, and of the head's gradient."""
    n, h, v, labels, out = s.plan.tokens, s.shape.width, s.shape.vocabulary, s.plan.label_tokens, s.norm_out
    head = 4 * v * h if s.full else 0
    copy = 2 * v * h if s.full and s.mixed else 0
    hidden, chosen = out * n * h, out * labels * h
    logits = 6 if s.mixed else 4  # bytes a logit, in 16 bits and in fp32
    if s.plan.loss == "plain":
        most = (logits + 4) * n * v
        return hidden + copy + most, copy + 4 * n * v, copy + 12 * n * v, head
    rows = min(labels, chunk_rows(v))
    more = min(rows, labels - rows)  # rows of a second chunk
    if not s.full and not lora_head:
        return hidden + 2 * chosen + logits * rows * v + s.c * rows * h, chosen, 2 * chosen, 0
    # Backward: a chunk's log-softmax and two gradients, beside the head's gradient from the chunks before; then that
    # gradient, the chunk's own and, once the logits are gone, their sum.
    size = s.c * v * h * s.full
    before = size * (more > 0)
    chunk = max(12 * rows * v + copy + before, s.c * rows * v + copy + size + before, size + 2 * before)
    return hidden + chosen + copy + (logits + 4) * rows * v, chosen + copy, 2 * chosen + chunk, head
