"""A GPU's arithmetic on any device: CUDA's rules of autocast with its dropout, at the level of torch functions.

Real autocast for CUDA does nothing to tensors of the meta device, whose storage holds no bytes. For a dry run
of a GPU's step, the same casts are made here. The rules are PyTorch's list of CUDA ops, as far as language models call
them: https://docs.pytorch.org/docs/stable/amp.html#cuda-op-specific-behavior.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from lorabook.kernels import byte_dropout

TO_16_BIT = {
    F.linear,
    F.scaled_dot_product_attention,
    torch.addmm,
    torch.baddbmm,
    torch.bmm,
    torch.matmul,
    torch.mm,
    Tensor.__matmul__,
    Tensor.bmm,
    Tensor.matmul,
    Tensor.mm,
}
TO_FP32 = {
    F.cross_entropy,
    F.layer_norm,
    F.log_softmax,
    F.nll_loss,
    F.softmax,
    torch.logsumexp,
    torch.pow,
    torch.rsqrt,
    torch.softmax,
    Tensor.logsumexp,
    Tensor.pow,
    Tensor.rsqrt,
    Tensor.softmax,
    Tensor.sum,
}
HALVES = (torch.float16, torch.bfloat16)


class GpuArithmetic(TorchFunctionMode):
    """While active, matrix products run in `dtype`, norms, softmax and losses in fp32, and dropout keeps a 1-byte mask.

    As autocast does, it keeps the 16-bit copy of a trained weight from `begin_forward` to `end_forward`. Leave it
    active during the backward pass, so that recomputed activations are computed as before.
    """

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype
        self._copies: dict[int, Tensor] | None = None

    def begin_forward(self) -> None:
        self._copies = {}

    def end_forward(self) -> None:
        self._copies = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (F.dropout, byte_dropout):
            return _dropout(*args, **kwargs)
        wanted = self.dtype if func in TO_16_BIT else torch.float32 if func in TO_FP32 else None
        if wanted is None:
            return func(*args, **kwargs)

        def cast(value: Any) -> Any:
            if not isinstance(value, Tensor) or value.dtype not in (torch.float32, *HALVES):
                return value
            trained_weight = value.is_leaf and value.requires_grad and value.dtype == torch.float32
            if not trained_weight or wanted == torch.float32 or self._copies is None or value._is_view():
                return value.to(wanted)
            if id(value) not in self._copies:
                self._copies[id(value)] = value.to(wanted)
            return self._copies[id(value)]

        return func(*tree_map(cast, args), **tree_map(cast, kwargs))


def backward_under_modes(loss: Tensor) -> None:
    """`loss.backward()` with function modes left on, so that activations are recomputed under them.

    `Tensor.backward` and `torch.autograd.backward` are torch functions themselves: a mode is off while they run. The
    engine they call is not.
    """
    engine: Any = getattr(torch.autograd.Variable, "_execution_engine")  # noqa: B009 - absent from the type stubs
    one = torch.ones_like(loss)
    engine.run_backward((loss,), (one,), False, False, (), allow_unreachable=True, accumulate_grad=True)


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout as CUDA does it: one kernel, whose mask has one byte an element."""
    return torch.native_dropout(input, p, True)[0] if training and p > 0 else input
