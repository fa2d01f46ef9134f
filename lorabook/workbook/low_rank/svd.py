"""What is left of a matrix when it is cut down to a rank: the truncated SVD, and the energy it keeps.

Notation: M of shape (d, k), M = U diag(S) Vh with singular values s_1 >= s_2 >= ... >= 0, as torch.linalg.svd gives it.
Half precision is computed in fp32; sums of squares are taken in fp64.
"""

import torch
from torch import Tensor

from lorabook.errors import SettingError, is_whole


def truncated_svd(M: Tensor, r: int) -> tuple[Tensor, Tensor, Tensor]:
    """The r largest singular values of M with their vectors: U (d, r), S (r,) falling, Vh (r, k).

    U diag(S) Vh is the matrix of rank r that is closest to M in the Frobenius and in the spectral norm (Eckart and
    Young 1936).

    Raises:
        SettingError: M is not a matrix of finite numbers; r is not a whole number from 1 to min(d, k).
    """
    M = _matrix(M, "M")
    r = _rank(r, min(M.shape))
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, :r], S[:r], Vh[:r]


def low_rank(M: Tensor, r: int) -> Tensor:
    """The matrix of rank r that is closest to M: U diag(S) Vh of `truncated_svd`, in M's shape and dtype."""
    U, S, Vh = truncated_svd(M, r)
    return ((U * S) @ Vh).to(M.dtype)


def spectrum(M: Tensor) -> Tensor:
    """The singular values of M, largest first: shape (min(d, k),)."""
    return torch.linalg.svdvals(_matrix(M, "M"))


def energy_kept(S: Tensor, r: int) -> float:
    """The share of ||M||_F^2 that rank r keeps: (sum of s_i^2 over i <= r) / (sum of all s_i^2), between 0 and 1.

    S holds all singular values of M, largest first; r is 0 to len(S).

    Raises:
        SettingError: S is no falling row of singular values, or all of them are zero; r is out of its range.
    """
    squares = _squares(S)
    return (squares[: _rank(r, len(squares), least=0)].sum() / squares.sum()).item()


def _matrix(M: Tensor, name: str) -> Tensor:
    if M.ndim != 2 or not M.numel():
        raise SettingError(f"{name} has the shape {tuple(M.shape)}.", "Give a matrix of shape (d, k).")
    M = M.detach() if M.dtype in (torch.float32, torch.float64) else M.detach().float()
    if not bool(torch.isfinite(M).all()):
        raise SettingError(f"{name} holds a value that is not finite.", "Look for the step at which training diverged.")
    return M


def _squares(S: Tensor) -> Tensor:
    """The squared singular values in fp64."""
    S = S.detach().double()
    if S.ndim != 1 or not len(S) or not bool((S >= 0).all()) or bool((S.diff() > 0).any()):
        raise SettingError(
            f"These are no singular values: {len(S) if S.ndim == 1 else tuple(S.shape)} numbers.",
            "Give those of spectrum(M): one row, none negative, largest first.",
        )
    if not S[0] > 0:
        raise SettingError("All singular values are zero.", "Train first: a zero matrix has no energy to keep.")
    return S.square()


def _rank(r: int, most: int, least: int = 1) -> int:
    if not is_whole(r, least, most):
        raise SettingError(f"r is {r!r}.", f"Give a whole number from {least} to {most}.")
    return r
