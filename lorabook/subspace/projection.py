"""A fixed random matrix P of D x d as two functions, each the other's gradient: up to R^D, down to R^d.

A subspace of dimension d in a space of D parameters is spanned by the columns of P (Li et al. 2018, arXiv 1804.08838).
"""

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lorabook.errors import SettingError, is_whole


class _Linear(torch.autograd.Function):
    """y = M x for a linear map given as a function, and its transpose as another. Nothing is saved for backward.

    The gradient is M^T times the incoming one, through this very class, so that it can be differentiated again.
    """

    @staticmethod
    def forward(x: Tensor, up: Callable[[Tensor], Tensor], down: Callable[[Tensor], Tensor]) -> Tensor:
        castable = torch.amp.is_autocast_available(x.device.type)  # not so on the meta device
        with torch.autocast(x.device.type, enabled=False) if castable else contextlib.nullcontext():
            return up(x)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        _, ctx.up, ctx.down = inputs

    @staticmethod
    def backward(ctx, *grads: Tensor):
        return _Linear.apply(grads[0], ctx.down, ctx.up), None, None


def linear_map(x: Tensor, up: Callable[[Tensor], Tensor], down: Callable[[Tensor], Tensor]) -> Tensor:
    """`up(x)`, with `down` as its transpose, in float64 or float32; differentiable any number of times."""
    result = _Linear.apply(x if x.dtype == torch.float64 else x.float(), up, down)
    assert isinstance(result, Tensor)
    return result


def _check_length(x: Tensor, expected: int, name: str) -> None:
    if not x.ndim or x.shape[-1] != expected:
        raise SettingError(f"The vector has the shape {tuple(x.shape)}.", f"Its last axis must be {name} = {expected}.")


class Projection(nn.Module):
    """What projections have in common. A projection gives `up`, theta -> P theta, and `down`, w -> P^T w."""

    def __init__(self, d: int, D: int, seed: int):
        super().__init__()
        for name, value in (("d", d), ("D", D)):
            if not is_whole(value, 1):
                raise SettingError(f"The dimension {name} is {value!r}.", "Give a whole number of at least 1.")
        self.d, self.D, self.seed = d, D, seed

    def forward(self, theta: Tensor) -> Tensor:
        """P theta: (..., d) -> (..., D)."""
        _check_length(theta, self.d, "d")
        return linear_map(theta, self.up, self.down)

    def adjoint(self, w: Tensor) -> Tensor:
        """P^T w: (..., D) -> (..., d)."""
        _check_length(w, self.D, "D")
        return linear_map(w, self.down, self.up)

    def up(self, theta: Tensor) -> Tensor:
        raise NotImplementedError

    def down(self, w: Tensor) -> Tensor:
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"d={self.d}, D={self.D}, seed={self.seed}"


class DenseProjection(Projection):
    """P as a D x d matrix of Gaussian numbers with columns of unit length: d * D numbers, for small d and D.

    The interface is that of `FastfoodProjection`. The matrix is drawn by a generator of its own on the CPU, is defined
    by (d, D, seed), and is held transposed, as the buffer `PT` (d, D), which is not saved.

    Raises:
        SettingError: a size below 1; a vector of another length than d or D.
    """

    PT: Tensor

    def __init__(self, d: int, D: int, seed: int = 0):
        super().__init__(d, D, seed)
        PT = torch.randn(d, D, generator=torch.Generator("cpu").manual_seed(seed), device="cpu")
        self.register_buffer("PT", PT.div_(PT.norm(dim=1, keepdim=True)), persistent=False)

    def up(self, theta: Tensor) -> Tensor:
        return theta @ self.PT.to(theta.dtype)

    def down(self, w: Tensor) -> Tensor:
        return w @ self.PT.T.to(w.dtype)
