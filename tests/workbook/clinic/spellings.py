"""Right answers to the exercises of notebook 08, as people write them."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


# label_fault


@right("label_fault")
def two_loops(labels, end):
    rows = [[label for label in row if label != -100] for row in labels.tolist()]
    if [] in rows:
        return "no labels"
    return "nothing" if {row[-1] for row in rows} == {end} else "no end token"


@right("label_fault")
def with_masks(labels, end):
    kept = labels != -100
    if (kept.sum(dim=1) == 0).any():
        return "no labels"
    positions = torch.arange(labels.shape[1])
    last = (kept * positions).argmax(dim=1)
    ends = labels.gather(1, last[:, None]).flatten()
    return ("nothing", "no end token")[bool((ends != end).any())]


@right("label_fault")
def by_where(labels, end):
    faults = []
    for row in labels:
        (where,) = torch.where(row != -100)
        faults.append(
            "no labels" if where.numel() == 0 else "nothing" if row[where[-1]].item() == end else "no end token"
        )
    return next(fault for fault in ("no labels", "no end token", "nothing") if fault in faults)


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
