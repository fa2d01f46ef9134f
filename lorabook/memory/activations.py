"""What one training step keeps between its forward and its backward pass, operation by operation, in closed form.

Autograd keeps ("saves") of every operation what its derivative needs: a matrix product with a trained weight keeps
its input, a frozen one does not; a norm and a nonlinearity keep their input whatever is trained; attention keeps
queries, keys, values and its output, or else every score. Korthikanti et al. 2022 (arXiv 2205.05198) count a block's
bytes this way for full fine-tuning in 16 bits. Here each operation is one `Op`, for any choice of trained layers.

Sizes: n = batch * sequence tokens, h width, i inner width, q and kv the widths of all query and all key heads; a
number takes c bytes in matrix products, e bytes between blocks, 4 in norms and softmax.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from lorabook.lora import LoRAConfig
from lorabook.memory.plan import Plan
from lorabook.memory.shape import Module, Shape


@dataclass(frozen=True)
class Op:
    """Bytes of one operation of a block.

    `saved` is kept for the backward pass. `forward` is alive beside all that is saved up to here while the operation
    runs: inputs, outputs and intermediates that nobody keeps. `backward` is the same for its derivative. `gradients`
    are those of the weights, which stay.
    """

    name: str
    saved: int
    forward: int
    backward: int
    gradients: int = 0


@dataclass(frozen=True)
class Block:
    ops: tuple[Op, ...]

    @property
    def saved(self) -> int:
        return sum(op.saved for op in self.ops)

    @property
    def forward(self) -> int:
        """The most alive at once in the forward pass."""
        return max(kept + op.forward for kept, op in zip(accumulate(op.saved for op in self.ops), self.ops))

    @property
    def backward(self) -> int:
        """The most alive at once in the backward pass, gradients of the block's own weights included."""
        kept = accumulate(op.saved for op in self.ops)
        return max(k + op.backward + g for k, op, g in zip(kept, self.ops, self._gradients()))

    def _gradients(self) -> list[int]:
        """Of every operation, the gradients formed once its own are: the backward pass goes from the last to the first."""
        return list(accumulate(op.gradients for op in reversed(self.ops)))[::-1]

    @property
    def gradients(self) -> int:
        return sum(op.gradients for op in self.ops)


@dataclass(frozen=True)
class Policy:
    """How many bytes a number takes in a plan, and what is trained.

    With 16-bit weights arithmetic is CUDA's autocast: matrix products in 16 bits, norms and softmax in fp32. Between
    blocks activations have the embeddings' format: 16 bits where those are frozen, fp32 where they are trained.
    """

    plan: Plan
    llama: bool
    full: bool

    @property
    def mixed(self) -> bool:
        return self.plan.weights != "fp32"

    @property
    def c(self) -> int:
        return 2 if self.mixed else 4

    @property
    def e(self) -> int:
        return 2 if self.mixed and not self.full else 4

    @property
    def norm_out(self) -> int:
        """RMSNorm is written out in Python and ends in the weight's format; LayerNorm ends in fp32 under autocast."""
        return self.e if self.llama else 4


def linear(
    name: str, p: Policy, layers: tuple[Module, ...], adapted: frozenset[str], live: bool, x_bytes: int, x_kept: bool
) -> Op:
    """Linear layers that read the same input x of (n, k) numbers of `x_bytes` each.

    `live`: x needs a gradient. `x_kept`: x is saved already, in the format that products read.
    """
    n, c, k = p.plan.tokens, p.c, layers[0].k
    outputs = c * n * sum(m.d for m in layers)
    last = layers[-1].d
    hits = [m for m in layers if m.name in adapted]
    widen = p.mixed and x_bytes == 2  # a LoRA layer reads its input in fp32, and autocast narrows it again
    saved = 0
    x_saved = x_kept
    if p.full:
        copies = len(layers) if p.mixed and x_bytes == 4 else int(not x_kept)
        saved = copies * c * n * k
        x_saved = x_kept or x_bytes == c
        if p.mixed:
            saved += sum(2 * m.d * m.k for m in layers)
    elif hits:
        lora = p.plan.method
        assert isinstance(lora, LoRAConfig)
        own = p.mixed or lora.dropout > 0  # every adapter keeps an input of its own
        saved = (len(hits) if own else int(not x_kept)) * c * n * k
        x_saved = x_kept or not own
        if lora.dropout:
            saved += len(hits) * n * k  # the mask, one byte a number on a GPU
        saved += sum(c * n * lora.r for _ in hits)
        if p.mixed:
            saved += sum(2 * lora.r * (m.d + m.k * live) for m in hits)
    forward = outputs + (0 if x_saved else x_bytes * n * k)
    if layers[-1].name in adapted:
        forward += max(2 * c * n * last, 4 * n * k if widen else 0)
    elif p.mixed and x_bytes == 4 and not p.full:
        forward += 2 * n * k
    sums = len(layers) + len(hits) > 1
    gradient = (3 if sums else 1) * x_bytes * n * k
    if hits and not x_kept:
        gradient -= c * n * k  # the adapter's input is released before the sum of both paths
    if p.mixed and x_bytes == 4:
        gradient = max(gradient, 6 * n * k)
    if p.full and p.mixed:
        gradient += max(2 * m.d * m.k for m in layers)
    if p.plan.weights == "nf4":
        unpacked = max(2 * m.d * m.k for m in layers)
        forward, gradient = forward + unpacked, gradient + unpacked
    weights = sum(4 * m.parameters for m in layers) if p.full else 0
    if hits:
        weights = sum(4 * p.plan.method.r * (m.d + m.k) for m in hits)
    return Op(name, saved, forward, (outputs + gradient if live else outputs), weights)


def norm(name: str, p: Policy, h: int, live: bool) -> Op:
    """LayerNorm or RMSNorm: keeps its input in fp32 and the statistics of every token."""
    n = p.plan.tokens
    out = p.norm_out * n * h
    if not live and not p.full:
        return Op(name, 0, out, 0)
    if p.llama:
        saved = 4 * n * h + 4 * n + (4 * n * h if p.full else 0)
        return Op(name, saved, out + 4 * n * h, out + 12 * n * h, 4 * h * p.full)
    saved = 4 * n * h + 8 * n + (8 * h if p.e == 2 else 0)
    return Op(name, saved, out, out + 4 * n * h, 8 * h * p.full)


def attention(p: Policy, shape: Shape, live: bool) -> Op:
    """softmax(Q K^T) V between the linear layers.

    The fused kernel keeps Q, K, V, its output and one fp32 number a query. The other two keep every score: "math"
    computes in fp32 throughout, "eager" rounds the softmax to the format of V. They copy Q, K and V into a layout of
    their own, keys and values once a query head, but for a single row, where views of one projection will do.
    """
    plan, n, c = p.plan, p.plan.tokens, p.c
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    scores = plan.batch * shape.heads * plan.sequence**2
    qkv, dropped = c * n * (q + 2 * kv), scores * (shape.attention_dropout > 0)
    one_view = plan.batch == 1 and not p.llama
    gradients = c * n * q + 2 * qkv
    if plan.attention == "fused":
        op = Op("attention", qkv + c * n * q + 4 * n * shape.heads, c * n * (q + kv) * p.llama, gradients)
    elif plan.attention == "math":
        copies = 2 * 4 * n * q + (qkv if one_view and not p.mixed else 4 * n * q)
        op = Op(
            "attention", copies + 4 * scores + 5 * dropped, qkv + c * n * q + 4 * scores, max(gradients, 8 * scores)
        )
    else:
        kept = 6 * scores + dropped if p.mixed else 4 * scores + 5 * dropped
        copies = qkv if one_view else 3 * c * n * q
        most = (6 if p.mixed else 8) * scores
        op = Op("attention", copies + kept, qkv + c * n * q + 4 * scores, max(gradients, most))
    return op if live else Op(op.name, 0, op.saved + op.forward, 0)


def activation(p: Policy, shape: Shape, live: bool) -> Op:
    """The nonlinearity of the MLP, and in Llama the product with the other half."""
    n, c, i = p.plan.tokens, p.c, shape.inner
    if p.llama:
        saved, out, backward = 3 * c * n * i, c * n * i, 3 * c * n * i
    elif shape.activation == "gelu_new":  # written out in Python: x^3, tanh, 1 + tanh and x / 2 are tensors
        saved, out = (14 if p.mixed else 16) * n * i, 4 * n * i
        backward = (14 if p.mixed and not p.plan.checkpointing else 12) * n * i
    else:
        saved, out, backward = c * n * i, c * n * i, 2 * c * n * i
    return Op("activation", saved, out, backward) if live else Op("activation", 0, out + c * n * i, 0)


@lru_cache(maxsize=4096)
def block(shape: Shape, plan: Plan, full: bool, adapted: frozenset[str], live: bool) -> Block:
    """The operations of one block. `live`: its input needs a gradient. `adapted`: linear layers that carry LoRA."""
    p = Policy(plan, shape.family == "llama", full)
    n, h, e = plan.tokens, shape.width, p.e
    half = len(shape.linears) - (3 if p.llama else 2)
    into, (out,) = shape.linears[: half - 1], shape.linears[half - 1 : half]
    up, (down,) = shape.linears[half:-1], shape.linears[-1:]
    ops: list[Op] = []

    def add(op: Op, kept: int, gradient: int) -> None:
        ops.append(Op(op.name, op.saved, op.forward + kept, op.backward + gradient, op.gradients))

    def trains(*layers: Module) -> bool:
        return full or any(m.name in adapted for m in layers)

    x0 = 0 if e == 4 and live else e * n * h
    g = e * n * h
    add(norm("norm 1", p, h, live), x0, g)
    first = linear("attention in", p, into, adapted, live, p.norm_out, False)
    y = p.norm_out * n * h if p.mixed or not first.saved else 0
    add(first, x0, g)
    live = live or trains(*into)
    add(attention(p, shape, live), x0 + y, g)
    fused = plan.attention == "fused"
    add(linear("attention out", p, (out,), adapted, live, p.c, fused and live), x0 + y, g)
    live = live or trains(out)
    x1 = x0 + (0 if e == 4 and live else e * n * h)
    add(norm("norm 2", p, h, live), x1, g)
    second = linear("mlp in", p, up, adapted, live, p.norm_out, False)
    y = p.norm_out * n * h if p.mixed or not second.saved else 0
    add(second, x1, g)
    live = live or trains(*up)
    add(activation(p, shape, live), x1 + y, g)
    product = 4 if shape.activation == "gelu_new" else p.c
    add(linear("mlp out", p, (down,), adapted, live, product, False), x1 + y, 0)
    return Block(tuple(ops))
