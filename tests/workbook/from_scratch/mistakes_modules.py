"""Wrong answers to the exercises on embeddings and the module tree, as people write them."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

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
