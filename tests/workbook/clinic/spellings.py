"""Right answers to the exercises of notebook 08, as people write them."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


# diagnose


@right("diagnose")
def nested(losses, grad_norms, held_out):
    if any(norm != norm for norm in grad_norms):
        return "NaN"
    if not sum(grad_norms):
        return "no labels"
    if any(loss / losses[0] > 2 for loss in losses):
        return "jump"
    return "no improvement" if held_out[1] > held_out[0] - 0.05 else "healthy"


@right("diagnose")
def with_tensors(losses, grad_norms, held_out):
    losses, norms = torch.tensor(losses), torch.tensor(grad_norms)
    fits = {"NaN": norms.isnan().any(), "no labels": (norms == 0).all(), "jump": losses.max() > 2 * losses[0]}
    for case, fit in fits.items():
        if fit:
            return case
    return ("healthy", "no improvement")[held_out[0] - held_out[1] < 0.05]


@right("diagnose")
def step_by_step(losses, grad_norms, held_out):
    found = "healthy"
    if held_out[0] - held_out[1] < 0.05:
        found = "no improvement"
    for loss in losses:
        if loss > losses[0] * 2:
            found = "jump"
    if max(grad_norms) == min(grad_norms) == 0:
        found = "no labels"
    for norm in grad_norms:
        if str(norm) == "nan":
            found = "NaN"
    return found


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
