"""QLoRA's 4-bit format NF4 in plain PyTorch: an oracle for `lorabook.models.quantized`, which uses bitsandbytes.

Bit for bit what bitsandbytes stores before double quantisation. Notebook 02 writes it out once more.
"""

import torch
from torch import Tensor

BLOCK = 64  # numbers that share a scale


def nf4_levels() -> Tensor:
    """The 16 levels (16,): quantiles of a normal distribution, 7 below zero, zero, 8 above, divided by the largest.

    Dettmers et al. 2023, arXiv 2305.14314, section 3 and appendix E.
    """
    edge = 0.9677083  # 1 - (1/30 + 1/32) / 2 as its authors rounded it: half a step in from the ends, on average
    above, below = (torch.special.ndtri(torch.linspace(edge, 0.5, n)[:-1].double()).float() for n in (9, 8))
    return torch.cat([-below, torch.zeros(1), above.flip(0)]) / above.max()


def pack(W: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """For every block of 64 numbers of W the nearest levels' indices, (blocks, 64), and the scale, (blocks, 1)."""
    blocks = W.reshape(-1, BLOCK)
    scale = blocks.abs().amax(dim=1, keepdim=True)
    return torch.bucketize(blocks * (1 / scale.clamp(min=1e-38)), (levels[1:] + levels[:-1]) / 2), scale


def unpack(codes: Tensor, scale: Tensor, levels: Tensor) -> Tensor:
    """(blocks, 64): each level times its block's scale."""
    return levels[codes] * scale
