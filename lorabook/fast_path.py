"""What LoRA layers do at less cost than PyTorch's own parts: dropout on a CPU, and the gradients of a shared input.

`F.dropout` draws a number per element and, on a CPU, keeps a mask as large as its input. Here one 64-bit draw makes
eight decisions, and the mask has one byte an element. On GPUs `F.dropout` is one kernel already, and is what runs.

The base layer and its update read the same x. Autograd adds their two gradients into a third tensor, the largest that
a step holds; `fork` adds the second into the first.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.overrides import handle_torch_function, has_torch_function_unary

INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes an element


class ByteDropout(nn.Module):
    """In training, each element of x becomes 0 with probability p, and the others are divided by the share kept.

    On a CPU p is rounded to a whole number of 256ths, at least one: 0.1 is 26 / 256, and the division is by 230 / 256,
    so that the expected value is x exactly. Draws from the global random state. Shape and dtype are those of x.
    """

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return byte_dropout(x, self.p) if self.training else x

    def extra_repr(self) -> str:
        return f"p={self.p}"


def byte_dropout(x: Tensor, p: float) -> Tensor:
    """What `ByteDropout` computes in training. A torch function, so that modes and subclasses may see it."""
    if has_torch_function_unary(x):
        return handle_torch_function(byte_dropout, (x,), x, p)
    if x.device.type not in ("cpu", "meta") or _transformed():
        return F.dropout(x, p)
    return _ByteDropout.apply(x, p)  # pyright: ignore[reportReturnType]


class _ByteDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        dropped = min(max(round(256 * p), 1), 255)  # of 256 values of a byte
        draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        draws = draws.view(torch.int8)[: x.numel()].view(x.shape)
        # -1 where kept: its bits are all ones. With `out` of one byte the comparison is a vector operation.
        keep = torch.ge(draws, dropped - 128, out=torch.empty(x.shape, dtype=torch.int8, device=x.device)).neg_()
        ctx.save_for_backward(keep)
        ctx.scale = 256 / (256 - dropped)
        return _kept(x, keep, ctx.scale)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return _kept(grad_output, keep, ctx.scale), None


def _kept(x: Tensor, keep: Tensor, scale: float) -> Tensor:
    """x * scale where `keep` is -1, else 0, through the bits of x: several times faster than a product with a mask."""
    bits = keep.to(INTEGERS[x.element_size()])
    return bits.bitwise_and_(x.view(bits.dtype)).view(x.dtype).mul_(scale)


def fork(x: Tensor) -> tuple[Tensor, Tensor]:
    """x twice. In the backward pass the gradient of the first, which must belong to nobody else, takes up the other.

    A matrix product's gradient is such a one.
    """
    return (x, x) if _transformed() else _Fork.apply(x)  # pyright: ignore[reportReturnType]


def _transformed() -> bool:
    """Whether `torch.func` (grad, vmap, jvp) or forward-mode AD is at work, which want PyTorch's own functions."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


class _Fork(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.view_as(x), x.view_as(x)

    @staticmethod
    def backward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        return first.add_(second)
