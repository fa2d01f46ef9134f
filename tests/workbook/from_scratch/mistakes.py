"""Wrong answers to the exercises of notebook 01, as people write them."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# lora_forward


@wrong("lora_forward", "by α, not α/r")
def raw_alpha(x, W, A, B, alpha, p, training):
    x_in = F.dropout(x, p=p, training=training)
    return F.linear(x, W) + alpha * F.linear(F.linear(x_in, A), B)


@wrong("lora_forward", "left the scaling out")
def unscaled(x, W, A, B, alpha, p, training):
    return F.linear(x, W) + F.linear(F.linear(F.dropout(x, p, training), A), B)


@wrong("lora_forward", "not r/α")
def scaling_turned_round(x, W, A, B, alpha, p, training):
    r, _ = A.shape
    return F.linear(x, W) + F.linear(F.linear(F.dropout(x, p, training), A), B) * r / alpha


@wrong("lora_forward", "rsLoRA")
def root_of_the_rank(x, W, A, B, alpha, p, training):
    return x @ W.T + F.dropout(x, p, training) @ A.T @ B.T * alpha / math.sqrt(B.shape[1])


@wrong("lora_forward", "scaled twice")
def scaled_twice(x, W, A, B, alpha, p, training):
    scaling = alpha / A.size(0)
    z = scaling * F.linear(F.dropout(x, p, training), A)
    return F.linear(x, W) + scaling * F.linear(z, B)


@wrong("lora_forward", "off the wrong side")
def rank_off_the_wrong_side(x, W, A, B, alpha, p, training):
    r = A.size(-1)
    return F.linear(x, W) + alpha / r * F.linear(F.linear(F.dropout(x, p, training), A), B)


@wrong("lora_forward", "swapped A and B")
def swapped(x, W, A, B, alpha, p, training):
    r = A.shape[0]
    z = F.linear(F.dropout(x, p, training), B)
    return F.linear(x, W) + alpha / r * F.linear(z, A)


@wrong("lora_forward", "swapped A and B")
def update_not_transposed(x, W, A, B, alpha, p, training):
    r = A.shape[0]
    return x @ W.T + alpha / r * (F.dropout(x, p, training) @ B @ A)


@wrong("lora_forward", "forgot to transpose")
def weight_not_transposed(x, W, A, B, alpha, p, training):
    r = A.shape[0]
    return torch.matmul(x, W) + alpha / r * (F.dropout(x, p, training) @ A.T @ B.T)


@wrong("lora_forward", "forgot to transpose")
def factors_not_transposed(x, W, A, B, alpha, p, training):
    r = A.shape[0]
    return x @ W.T + alpha / r * ((F.dropout(x, p, training) @ A) @ B)


@wrong("lora_forward", "the update alone")
def base_forgotten(x, W, A, B, alpha, p, training):
    return alpha / A.shape[0] * F.linear(F.linear(F.dropout(x, p, training), A), B)


@wrong("lora_forward", "no gradient reaches")
def made_without_gradient(x, W, A, B, alpha, p, training):
    with torch.no_grad():
        update = alpha / A.shape[0] * (B @ A)
    return F.linear(x, W) + F.linear(F.dropout(x, p, training), update)


@wrong("lora_forward", "no gradient reaches")
def a_taken_as_data(x, W, A, B, alpha, p, training):
    return F.linear(x, W) + alpha / A.shape[0] * (F.dropout(x, p, training) @ A.data.T) @ B.T


@wrong("lora_forward", "in evaluation too")
def dropout_in_evaluation(x, W, A, B, alpha, p, training):
    x_in = nn.Dropout(p)(x)  # a new module is in training mode
    return F.linear(x, W) + alpha / A.shape[0] * F.linear(F.linear(x_in, A), B)


@wrong("lora_forward", "falls on the output")
def dropout_on_the_output(x, W, A, B, alpha, p, training):
    h = F.linear(x, W) + alpha / A.shape[0] * F.linear(F.linear(x, A), B)
    return F.dropout(h, p, training)


@wrong("lora_forward", "falls on the output")
def dropout_on_the_update(x, W, A, B, alpha, p, training):
    update = alpha / A.shape[0] * F.linear(F.linear(x, A), B)
    return F.linear(x, W) + F.dropout(update, p, training)


@wrong("lora_forward", "falls on A x")
def dropout_after_a(x, W, A, B, alpha, p, training):
    z = F.dropout(F.linear(x, A), p, training)
    return F.linear(x, W) + alpha / A.shape[0] * F.linear(z, B)


@wrong("lora_forward", "on the frozen path too")
def dropout_for_the_base_too(x, W, A, B, alpha, p, training):
    x = F.dropout(x, p, training)
    return F.linear(x, W) + alpha / A.shape[0] * F.linear(F.linear(x, A), B)


@wrong("lora_forward", "no dropout in training")
def no_dropout(x, W, A, B, alpha, p, training):
    return F.linear(x, W + alpha / A.shape[0] * B @ A)


# lora_merge


@wrong("lora_merge", "subtracted")
def subtracted(W, A, B, alpha, merged):
    if not merged:
        W = (W - alpha / A.shape[0] * (B @ A)).to(W.dtype)
    return W


@wrong("lora_merge", "formed AB")
def a_times_b(W, A, B, alpha, merged):
    return W if merged else (W.float() + alpha / A.shape[0] * torch.mm(A, B)).to(W.dtype)


@wrong("lora_merge", "transposed")
def transposed(W, A, B, alpha, merged):
    if merged:
        return W
    return (alpha / A.shape[0] * (A.T @ B.T) + W).to(W.dtype)


@wrong("lora_merge", "left the scaling out")
def merged_unscaled(W, A, B, alpha, merged):
    return W if merged else (W + torch.matmul(B, A)).type_as(W)


@wrong("lora_merge", "by α, not α/r")
def merged_with_raw_alpha(W, A, B, alpha, merged):
    return W if merged else torch.addmm(W.to(A.dtype), B, A, alpha=alpha).to(W.dtype)


@wrong("lora_merge", "scaled twice")
def merge_scaled_twice(W, A, B, alpha, merged):
    scaling = alpha / A.shape[0]
    return W if merged else (W + (scaling * B) @ (scaling * A)).to(W.dtype)


@wrong("lora_merge", "the update alone")
def update_given(W, A, B, alpha, merged):
    return W if merged else (alpha / A.shape[0] * B @ A).to(W.dtype)


@wrong("lora_merge", "merged twice")
def merged_twice(W, A, B, alpha, merged):
    r = len(A)
    return W.add(alpha / r * (B @ A)).to(W.dtype)


@wrong("lora_merge", "took the update out")
def unmerged_when_merged(W, A, B, alpha, merged):
    update = alpha / A.shape[0] * (B @ A)
    return (W - update if merged else W + update).to(W.dtype)


@wrong("lora_merge", "rounded the update")
def rounded_twice(W, A, B, alpha, merged):
    update = (alpha / A.shape[0] * (B @ A)).to(W.dtype)
    return W if merged else W + update


@wrong("lora_merge", "left the sum in fp32")
def left_in_fp32(W, A, B, alpha, merged):
    return W if merged else W + alpha / A.shape[0] * (B @ A)


@wrong("lora_merge", "in place")
def in_place(W, A, B, alpha, merged):
    if not merged:
        W.data += alpha / A.shape[0] * (B @ A)
    return W


# lora_embedding


class Embedding(nn.Module):
    """What most of the classes below share."""

    def __init__(self, base, r, alpha, p):
        super().__init__()
        self.base, self.scaling = base, alpha / r
        self.base.weight.requires_grad = False
        self.A = nn.Parameter(torch.zeros((r, base.num_embeddings)))
        self.B = nn.Parameter(torch.empty((base.embedding_dim, r)).normal_())

    def forward(self, tokens):
        z = F.embedding(tokens, self.A.transpose(0, 1))
        return self.base(tokens) + self.scaling * F.linear(z, self.B)


@wrong("lora_embedding", "both A and B are zero")
class BothZero(Embedding):
    def __init__(self, base, r, alpha, p):
        super().__init__(base, r, alpha, p)
        nn.init.zeros_(self.B)


@wrong("lora_embedding", "as in a linear layer")
class BZeroAsInALinearLayer(Embedding):
    def __init__(self, base, r, alpha, p):
        super().__init__(base, r, alpha, p)
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
        nn.init.zeros_(self.B)


@wrong("lora_embedding", "neither A nor B is zero")
class NeitherZero(Embedding):
    def __init__(self, base, r, alpha, p):
        super().__init__(base, r, alpha, p)
        nn.init.normal_(self.A)


@wrong("lora_embedding", "the base is trainable")
class BaseLeftTrainable(Embedding):
    def __init__(self, base, r, alpha, p):
        super().__init__(base, r, alpha, p)
        self.base.weight.requires_grad = True


@wrong("lora_embedding", "plain tensors")
class NoParameters(Embedding):
    def __init__(self, base, r, alpha, p):
        super().__init__(base, r, alpha, p)
        del self.A, self.B
        self.A = torch.zeros(r, base.num_embeddings, requires_grad=True)
        self.B = torch.randn(base.embedding_dim, r, requires_grad=True)


@wrong("lora_embedding", "your A is transposed")
class ATransposed(Embedding):
    def __init__(self, base, r, alpha, p):
        super().__init__(base, r, alpha, p)
        self.A = nn.Parameter(torch.zeros(base.num_embeddings, r))

    def forward(self, tokens):
        return self.base(tokens) + self.scaling * F.embedding(tokens, self.A) @ self.B.T


@wrong("lora_embedding", "rows of A")
class RowForColumn(Embedding):
    def forward(self, tokens):
        return self.base(tokens) + self.scaling * F.embedding(tokens, self.A) @ self.B.T


@wrong("lora_embedding", "by α, not α/r")
class EmbeddingWithRawAlpha(Embedding):
    def __init__(self, base, r, alpha, p):
        super().__init__(base, r, alpha, p)
        self.scaling = alpha


@wrong("lora_embedding", "left the scaling out")
class EmbeddingUnscaled(Embedding):
    def forward(self, tokens):
        return self.base(tokens) + self.A.T[tokens] @ self.B.T


@wrong("lora_embedding", "the update alone")
class BaseForgotten(Embedding):
    def forward(self, tokens):
        return self.scaling * self.A.T[tokens] @ self.B.T


@wrong("lora_embedding", "your dropout is on")
class DropoutOn(Embedding):
    def __init__(self, base, r, alpha, p):
        super().__init__(base, r, alpha, p)
        self.dropout = nn.Dropout(p)

    def forward(self, tokens):
        return self.base(tokens) + self.scaling * self.dropout(self.A.T[tokens]) @ self.B.T


# tree_shapes

RIGHT = {
    "c_attn.weight": [2304, 2048],
    "c_attn.A": [16, 2048],
    "c_attn.B": [2304, 16],
    "mlp.c_proj.A": [16, 8192],
    "mlp.c_proj.B": [2048, 16],
    "wte.A": [16, 49152],
    "wte.B": [2048, 16],
    "modules hit by c_proj": 48,
    "modules adapted": 98,
    "parameters of wte and lm_head": 100_663_296,
}
for label, fragment, changes in (
    ("c_attn square", "for square", {"c_attn.weight": (2048, 2048), "c_attn.B": (2048, 16)}),
    ("2304 square", "for square", {"c_attn.weight": (2304, 2304), "c_attn.A": (16, 2304)}),
    ("B of a square c_attn", "for square", {"c_attn.B": torch.Size([2048, 16])}),
    ("three full heads", "its own keys and values", {"c_attn.weight": (6144, 2048), "c_attn.B": (6144, 16)}),
    ("weight as inputs by outputs", "turned a shape round", {"c_attn.weight": (2048, 2304)}),
    ("A and B turned round", "turned a shape round", {"c_attn.A": (2048, 16), "c_attn.B": (16, 2304)}),
    ("A on the output side", "swapped the sides", {"c_attn.A": (16, 2304), "c_attn.B": (2048, 16)}),
    ("c_proj of the MLP as in attention", "that of attention", {"mlp.c_proj.A": (16, 2048)}),
    ("width for vocabulary", "width of an embedding", {"wte.A": (16, 2048), "wte.B": (49152, 16)}),
    ("c_proj once a block", "counted c_proj once", {"modules hit by c_proj": 24, "modules adapted": 74}),
    ("c_proj once among the modules", "counted c_proj once", {"modules adapted": 3 * 24 + 2}),
    ("one block", "counted one block", {"modules hit by c_proj": 2}),
    ("embeddings forgotten", "forgot wte and wpe", {"modules adapted": 96}),
    ("names for modules", "counted names", {"modules adapted": 5}),
    ("tied head twice", "tied head twice", {"parameters of wte and lm_head": 201_326_592}),
):
    bank.add("tree_shapes", label, fragment, RIGHT | changes)
