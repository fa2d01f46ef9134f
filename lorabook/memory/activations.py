"""What a block of a model keeps for its backward pass, operation by operation, in closed form.

Of every operation autograd keeps ("saves") what its derivative needs. A matrix product with a trained weight saves
its input, one with a frozen weight does not; a norm and a nonlinearity save their input in any case;
attention saves queries, keys, values and its output, or else every score. Korthikanti et al. 2022 (arXiv 2205.05198,
section 4) add a block up this way for full fine-tuning in 16 bits. Here each operation is one `Op`, for any choice of
trained layers.

Sizes in the formulas: n = batch * sequence tokens, h the width, i the width inside the MLP, q and kv the widths of all
query heads and of all key heads. A value has c bytes in matrix products, e between blocks, 4 in norms and softmax.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from lorabook.lora_config import LoRAConfig
from lorabook.memory.plan import Plan
from lorabook.memory.shape import Module, Shape

NO_LORA = LoRAConfig()  # stands in where a plan has none: no layer is adapted


@dataclass(frozen=True)
class Op:
    """Bytes of one operation.

    `saved` stays until the backward pass. `forward` is alive while the operation runs, beside all that is saved up to
    and with it: inputs, outputs and intermediates that nobody keeps. `backward` is the same for its derivative.
    `gradients` are those of the weights, which stay once they are formed.
    """

    name: str
    saved: int
    forward: int
    backward: int
    gradients: int = 0


@dataclass(frozen=True)
class Block:
    """The operations of one block. `forward` and `backward` are the most bytes alive at once in either pass."""

    ops: tuple[Op, ...]

    @cached_property
    def saved(self) -> int:
        return sum(op.saved for op in self.ops)

    @cached_property
    def gradients(self) -> int:
        return sum(op.gradients for op in self.ops)

    @cached_property
    def forward(self) -> int:
        kept = accumulate(op.saved for op in self.ops)
        return max(before + op.forward for before, op in zip(kept, self.ops))

    @cached_property
    def backward(self) -> int:
        kept = accumulate(op.saved for op in self.ops)
        formed = [*accumulate(op.gradients for op in reversed(self.ops))][::-1]  # from the last operation to the first
        return max(before + op.backward + after for before, op, after in zip(kept, self.ops, formed))


@dataclass(frozen=True)
class Setting:
    """A plan applied to a shape: what is trained, and the bytes that a value takes.

    With 16-bit weights the arithmetic is CUDA's autocast: matrix products in 16 bits, norms and softmax in fp32. With
    fp32 weights it is the CPU's, where the model's own dropouts keep masks in fp32; a GPU's have one byte a value.
    """

    shape: Shape
    plan: Plan
    full: bool

    @property
    def lora(self) -> LoRAConfig:
        return self.plan.method if isinstance(self.plan.method, LoRAConfig) else NO_LORA

    @property
    def mixed(self) -> bool:
        return self.plan.weights != "fp32"

    @property
    def c(self) -> int:
        return 2 if self.mixed else 4

    @property
    def e(self) -> int:
        """Between blocks, values have the embeddings' format: fp32 where those are trained."""
        return 2 if self.mixed and not self.full else 4

    @property
    def norm_out(self) -> int:
        """RMSNorm is written out in Python and ends in its weight's format. LayerNorm ends in fp32 under autocast."""
        return self.e if self.shape.family.rms_norm else 4

    @property
    def mask(self) -> int:
        return 1 if self.mixed else 4

    def drops(self, place: str) -> bool:
        """Whether the model's own dropout works at `place`: "attention", "residual" or "embedding"."""
        field, p = f"{place}_dropout", self.plan.model_dropout
        return field in self.shape.family.dropouts and (getattr(self.shape, field) if p is None else p) > 0


def block(s: Setting, adapted: frozenset[str], live: bool) -> Block:
    """The operations of a block whose layers `adapted` carry LoRA. `live`: its input needs a gradient."""
    n, h = s.plan.tokens, s.shape.width
    split = next(i for i, m in enumerate(s.shape.linears) if m.name.startswith("mlp."))
    (*into, out), (*up, down) = s.shape.linears[:split], s.shape.linears[split:]
    stream = s.e * n * h  # what goes from block to block; its gradient is there all through the backward pass
    masks = s.mask * n * h if s.drops("residual") else 0
    ops: list[Op] = []

    def half(first: Op, second: Op, middle: Op, third: Op, beside: int) -> None:
        """A norm, layers that read it, what they feed, and the layer that goes back to the stream."""
        shared = second.saved and s.norm_out == s.c and not s.lora.dropout  # it is the input that an adapter saves
        normed = 0 if shared else s.norm_out * n * h  # Python holds it till the half is over
        ops.append(Op(first.name, first.saved, first.forward + beside, first.backward + stream, first.gradients))
        for op in (second, middle, third):
            around = stream if op is not third or s.e != s.c else 0  # the last layer's own gradient is the stream's
            kept = beside + (0 if op is second else normed)
            ops.append(Op(op.name, op.saved, op.forward + kept, op.backward + around, op.gradients))

    def trained(layers: list[Module]) -> bool:
        return s.full or any(m.name in adapted for m in layers)

    def out_of(name: str, layer: Module, x_bytes: int, x_kept: bool) -> Op:
        op = linear(name, s, [layer], adapted, live, x_bytes, x_kept)
        return Op(name, op.saved + masks * (live or trained([layer])), op.forward, op.backward, op.gradients)

    beside = 0 if s.e == 4 and live else stream
    norm_1, attention_in = norm("norm 1", s, live), linear("attention in", s, into, adapted, live, s.norm_out)
    live = live or trained(into)
    core = attention(s, live)
    half(norm_1, attention_in, core, out_of("attention out", out, s.c, live and s.plan.attention == "fused"), beside)
    live = live or trained([out])
    beside += 0 if s.e == 4 and live else stream
    norm_2, mlp_in = norm("norm 2", s, live), linear("mlp in", s, up, adapted, live, s.norm_out)
    live = live or trained(up)
    middle, bytes_out = activation(s, live)
    half(norm_2, mlp_in, middle, out_of("mlp out", down, bytes_out, False), beside)
    return Block(tuple(ops))


def norm(name: str, s: Setting, live: bool) -> Op:
    """LayerNorm or RMSNorm: saves its input in fp32 and statistics of every token."""
    n, h = s.plan.tokens, s.shape.width
    out = s.norm_out * n * h
    if not live and not s.full:
        return Op(name, 0, out, 0)
    if s.shape.family.rms_norm:  # the normalised input too, where the norm's weight is trained
        return Op(name, (8 if s.full else 4) * n * h + 4 * n, out + 4 * n * h, out + 12 * n * h, 4 * h * s.full)
    copies = 8 * h if s.e == 2 else 0  # weight and bias in fp32
    return Op(name, 4 * n * h + 8 * n + copies, out, out + 4 * n * h, 8 * h * s.full)


def linear(
    name: str,
    s: Setting,
    layers: list[Module],
    adapted: frozenset[str],
    live: bool,
    x_bytes: int,
    x_kept: bool = False,
) -> Op:
    """Linear layers that read the same x, n * k values of `x_bytes` each; `x_kept`: another operation saves x.

    A trained layer saves x. An adapter saves x too, in a copy of its own where autocast casts x to 16 bits, and with
    dropout, whose mask has one byte a value; the r values a token between A and B; and 16-bit copies of A and B.
    """
    n, c, k, r = s.plan.tokens, s.c, layers[0].k, s.lora.r
    hits = [m for m in layers if m.name in adapted]
    saved = gradients = 0
    x_saved = x_kept
    if s.full:
        saved = c * n * k * (len(layers) if x_bytes > c else int(not x_kept))
        saved += sum(2 * m.d * m.k for m in layers) * s.mixed
        x_saved = x_kept or x_bytes == c
        gradients = sum(4 * m.parameters for m in layers)
    elif hits:
        own = x_bytes > c or s.lora.dropout > 0
        saved = c * n * k * (len(hits) if own else int(not x_kept)) + len(hits) * c * n * r
        saved += len(hits) * n * k * (s.lora.dropout > 0)
        saved += sum(2 * r * (m.d + m.k * live) for m in hits) * s.mixed
        x_saved = x_kept or not own
        gradients = sum(4 * r * (m.d + m.k) for m in hits)

    outputs = c * n * sum(m.d for m in layers)
    forward = outputs + (0 if x_saved else x_bytes * n * k)
    if layers[-1] in hits:  # the base's output, and its sum with the adapter's
        forward += c * n * layers[-1].d
    elif x_bytes > c and not s.full:
        forward += c * n * k
    # Gradients of x to be added: two and their sum; or a base layer's, and its adapter's that is added in its place.
    several = 3 if len(layers) > 1 else 2 if hits else 1
    backward = max(several * x_bytes, 6 if x_bytes > c else 0) * n * k
    if hits and not x_kept:
        backward -= c * n * k  # the adapter's input is let go before the sum
    largest = max(2 * m.d * m.k for m in layers)
    if s.full and s.mixed:
        backward += largest  # a weight's gradient in 16 bits, on its way to fp32
    if s.plan.weights == "nf4":
        forward, backward = forward + largest, backward + largest  # the weight unpacked to 16 bits
    return Op(name, saved, forward, outputs + backward * live, gradients)


def attention(s: Setting, live: bool) -> Op:
    """softmax(Q K^T) V between the linear layers.

    The fused kernel saves Q, K, V, its output and one fp32 value a query. The other two save every score: "math"
    computes in fp32 throughout, "eager" rounds the softmax to the format of V. They copy Q, K and V into a layout of
    their own, keys and values once for every query head; with a single sequence, views of one projection will do.
    """
    n, c, heads, rotary = s.plan.tokens, s.c, s.shape.heads, s.shape.family.rotary
    q, kv = s.shape.query_width, s.shape.kv_width
    scores = s.plan.batch * heads * s.plan.sequence**2
    dropped = scores * s.drops("attention")
    projected, attended = c * n * (q + 2 * kv), c * n * q
    views = s.plan.batch == 1 and not rotary
    gradients = attended + 2 * projected
    if s.plan.attention == "fused":
        rotated = c * n * (q + kv) * rotary
        op = Op("attention", projected + attended + 4 * n * heads, rotated, gradients)
    elif s.plan.attention == "math":
        copies = 8 * n * q + (projected if views and not s.mixed else 4 * n * q)
        saved = copies + 4 * scores + (4 + s.mask) * dropped
        op = Op("attention", saved, projected + attended + 4 * scores, max(gradients, 8 * scores + 4 * n * q * s.mixed))
    else:
        saved = (projected if views else 3 * attended) + (6 * scores + dropped if s.mixed else 4 * scores + 8 * dropped)
        scores_back = (6 if s.mixed else 8) * scores
        op = Op("attention", saved, projected + attended + 4 * scores, max(gradients, scores_back))
    return op if live else Op(op.name, 0, op.saved + op.forward, 0)


def activation(s: Setting, live: bool) -> tuple[Op, int]:
    """The MLP's nonlinearity, and where it is gated the product; and the bytes of a value it puts out."""
    n, c, i = s.plan.tokens, s.c, s.shape.inner
    bytes_out = c
    if s.shape.family.gated:
        saved, backward = 3 * c * n * i, 3 * c * n * i
    elif s.shape.activation == "gelu_new":  # in Python: x, x / 2, tanh and 1 + tanh are tensors, in fp32 but for x / 2
        saved, bytes_out = (12 + c) * n * i, 4
        backward = (14 if s.mixed and not s.plan.checkpointing else 12) * n * i
    else:
        saved, backward = c * n * i, 2 * c * n * i
    out = bytes_out * n * i
    op = Op("activation", saved, out, backward)
    return (op if live else Op(op.name, 0, out + c * n * i, 0)), bytes_out
