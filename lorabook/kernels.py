"""A LoRA step at less cost than its plain form in lora.py: the same values and gradients, to rounding.

Three things are done in another way, each by an own function below: dropout on a CPU draws a byte for an element; one
kernel (`addmm`) forms product, scaling and sum, so that the update is never a tensor of its own; and of the two
gradients of the input that a base layer and its update share, the second is added into the first.

    with faster(model):
        ...  # training steps
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.overrides import handle_torch_function, has_torch_function_unary

from lorabook.lora import LoRALinear, in_4_bits, is_conv1d, lora_layers

INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes an element


@contextlib.contextmanager
def faster(model: nn.Module) -> Iterator[None]:
    """Within the block every `LoRALinear` of `model` computes as `FastLoRALinear`; subclasses compute as before."""
    plain = [layer for _, layer in lora_layers(model) if type(layer) is LoRALinear]
    dropouts = [layer.dropout for layer in plain if type(layer.dropout) is nn.Dropout]
    for layer in plain:
        layer.__class__ = FastLoRALinear
    for dropout in dropouts:
        dropout.__class__ = ByteDropout
    try:
        yield
    finally:
        for layer in plain:
            layer.__class__ = LoRALinear
        for dropout in dropouts:
            dropout.__class__ = nn.Dropout


class FastLoRALinear(LoRALinear):
    """`LoRALinear` with `addmm` and `fork`; `faster` gives it `ByteDropout` too."""

    def forward(self, x: Tensor) -> Tensor:
        if self.merged:
            return self.base_layer(x)
        first, second = fork(x) if _gradient_is_its_own(self.base_layer) else (x, x)
        return self.add_update(self.base_layer(first), second)

    def add_update(self, h: Tensor, x: Tensor) -> Tensor:
        z = F.linear(self.dropout(x), self.A.to(x.dtype))  # (..., k) -> (..., r)
        z, flat = z.to(h.dtype).reshape(-1, self.r), h.reshape(-1, self.shape[0])
        return torch.addmm(flat, z, self.B.to(h.dtype).T, alpha=self.scaling).view(h.shape)


class ByteDropout(nn.Dropout):
    """`nn.Dropout` by `byte_dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return byte_dropout(input, self.p) if self.training else input


def _gradient_is_its_own(base_layer: nn.Module) -> bool:
    """Whether the gradient that `base_layer` gives its input is a new tensor, which nobody else holds.

    So it is of one matrix product. A subclass may pass on the gradient that it got (a skip), a hook may keep it.
    """
    kinds = type(base_layer) is nn.Linear or is_conv1d(base_layer) or in_4_bits(base_layer)
    return kinds and not (base_layer._backward_hooks or base_layer._backward_pre_hooks or base_layer._forward_hooks)


def byte_dropout(x: Tensor, p: float) -> Tensor:
    """Each element of x becomes 0 with probability p, and the others are divided by the share kept.

    On a CPU p is rounded to a whole number of 256ths, at least one: 0.1 is 26 / 256, and the division is by 230 / 256,
    so that the expected value is x exactly. One 64-bit draw from the global random state makes eight decisions, and the
    mask has one byte an element, where `F.dropout` draws for each element and keeps a mask as large as x. Elsewhere it
    is `F.dropout`, there one kernel already. A torch function, so that modes and subclasses may see it.
    """
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

    Autograd would add the two into a third tensor, the largest that a step holds.
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
