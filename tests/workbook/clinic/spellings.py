"""Right answers to the exercises of notebook 08, as people write them."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


# lora_update

add("lora_update", "linear", lambda x, A, B, alpha: F.linear(F.linear(x, A), B) * alpha / len(A))
add("lora_update", "einsum", lambda x, A, B, alpha: torch.einsum("bk,rk,dr->bd", x, A, B) * (alpha / B.shape[1]))
add("lora_update", "product formed", lambda x, A, B, alpha: x @ (alpha / A.size(0) * B @ A).T)
add(
    "lora_update",
    "in double",
    lambda x, A, B, alpha: (alpha / len(A) * (x.double() @ A.double().T @ B.double().T)).to(x),
)


@right("lora_update")
def direction_by_direction(x, A, B, alpha):
    total = torch.zeros(len(x), len(B))
    for a, b in zip(A, B.T):
        total += torch.outer(x @ a, b)
    return total * alpha / len(A)


# merge_head


@right("merge_head")
def a_new_linear_layer(model, A, B, scaling):
    W0 = model.head.weight
    head = nn.Linear(W0.shape[1], W0.shape[0], bias=False, dtype=W0.dtype)
    with torch.no_grad():
        head.weight.copy_(W0.float() + scaling * (B @ A))
    model.head = head.requires_grad_(False)
    model.config.tie_word_embeddings = False


@right("merge_head")
def cloned_and_written(model, A, B, scaling):
    W0 = model.head.weight.detach()
    model.head.weight = nn.Parameter(W0.clone())
    model.head.weight.requires_grad = False
    model.head.weight.data = torch.addmm(W0.float(), B, A, alpha=scaling).type_as(W0).detach()
    model.config.tie_word_embeddings = False


@right("merge_head")
def row_by_row(model, A, B, scaling):
    with torch.no_grad():
        rows = [(w.float() + scaling * (b @ A)).to(w.dtype) for w, b in zip(model.head.weight, B)]
        model.head.weight = nn.Parameter(torch.stack(rows), requires_grad=False)
    model.config.__dict__["tie_word_embeddings"] = False


@right("merge_head")
def the_embedding_gets_the_copy(model, A, B, scaling):
    original = model.embedding.weight.detach().clone()
    merged = original.float() + scaling * torch.einsum("vr,rk->vk", B, A)
    model.embedding.weight = nn.Parameter(original, requires_grad=False)
    model.head.weight = nn.Parameter(merged.detach().to(original.dtype), requires_grad=False)
    model.config.tie_word_embeddings = False


# frozen_base


@right("frozen_base")
class ByLinear(nn.Module):
    def __init__(self, base, r):
        super().__init__()
        self.base, d, k = base, *base.weight.shape
        for p in self.base.parameters():
            p.requires_grad = False
        self.A, self.B = nn.Parameter(torch.empty(r, k)), nn.Parameter(torch.zeros(d, r))
        nn.init.kaiming_uniform_(self.A)

    def forward(self, x):
        return self.base(x) + F.linear(F.linear(x, self.A), self.B)


@right("frozen_base")
class BaseByFunction(nn.Module):
    def __init__(self, base, r):
        super().__init__()
        self.base = base
        base.weight.requires_grad_(False)
        if base.bias is not None:
            base.bias.requires_grad_(False)
        self.A = nn.Parameter(torch.rand(r, base.in_features))
        self.register_parameter("B", nn.Parameter(torch.zeros(base.out_features, r)))

    def forward(self, x):
        return F.linear(x, self.base.weight, self.base.bias) + (self.B @ (self.A @ x.mT)).mT


@right("frozen_base")
class WeightFormed(nn.Module):
    def __init__(self, base, r):
        super().__init__()
        self.base = base
        self.base.requires_grad_(False)
        self.A = nn.Parameter(torch.normal(0, 0.02, size=(r, base.in_features)))
        self.B = nn.Parameter(torch.zeros((base.out_features, r)))

    def forward(self, x):
        h = F.linear(x, self.base.weight + self.B @ self.A)
        return h if self.base.bias is None else h + self.base.bias


@right("frozen_base")
class ByEinsum(nn.Module):
    def __init__(self, base, r):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(r, base.weight.size(1)) / r)
        self.B = nn.Parameter(torch.zeros(base.weight.size(0), r))

    def forward(self, x):
        return torch.einsum("...k,rk,dr->...d", x, self.A, self.B) + self.base(x)
