"""LoRA's family beside the layer that notebook 01 writes: DoRA and PiSSA each differ from it in a line or two.

`LoRALinear` is that notebook's layer.
"""

import math

import torch
from torch import nn


class LoRALinear(nn.Module):
    """h = base(x) + (alpha / r) B A x, with a frozen base."""

    def __init__(self, base, r, alpha):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(r, base.in_features) / math.sqrt(base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, r))
        self.scaling = alpha / r

    def forward(self, x):
        return self.base(x) + self.scaling * (x @ self.A.T @ self.B.T)


class DoRALinear(LoRALinear):
    """h = m / ‖W‖ W x + bias with W = W0 + s B A: the update turns the rows of W0, and m (d,) alone sets their lengths.

    ‖W‖ (d,) holds the length of every row and counts as constant in the backward pass (Liu et al. 2024, arXiv
    2402.09353, section 4.3). m starts as ‖W0‖, so the layer starts as its base.
    """

    def __init__(self, base, r, alpha):
        super().__init__(base, r, alpha)
        self.m = nn.Parameter(base.weight.norm(dim=1))

    def forward(self, x):
        length = (self.base.weight + self.scaling * self.B @ self.A).norm(dim=1).detach()
        bias = 0 if self.base.bias is None else self.base.bias
        return self.m / length * (super().forward(x) - bias) + bias


class PiSSALinear(LoRALinear):
    """LoRA that starts from the r largest singular directions of W0, which leave the base: B A s + W = W0.

    With W0 = U S V^T: B = U_r (S_r / s)^1/2, A = (S_r / s)^1/2 V_r^T (Meng et al. 2024, arXiv 2404.02948, section 3).
    The frozen weight is no longer W0: an adapter of this kind fits no other base than the one it leaves behind.
    """

    def __init__(self, base, r, alpha):
        super().__init__(base, r, alpha)
        U, S, Vh = torch.linalg.svd(base.weight, full_matrices=False)
        root = (S[:r] / self.scaling).sqrt()
        self.B.data, self.A.data = U[:, :r] * root, root[:, None] * Vh[:r]
        base.weight.data -= self.scaling * self.B.data @ self.A.data
