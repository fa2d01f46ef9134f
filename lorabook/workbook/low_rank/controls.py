"""What an update ΔW consists of: its parts, beside ΔW scaled as far; its intruder dimensions."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lorabook.workbook.low_rank.svd import low_rank


def parts(change: Mapping[str, Tensor], r: int) -> tuple[float, dict[str, dict[str, Tensor]]]:
    """The fraction e of ΔW's energy in the first r SVD terms of every matrix, and four updates made from ΔW.

    truncated: the first r terms. rest: all other terms. scaled: e ΔW. scaled rest: (1 - e) ΔW. All matrices together
    are one vector; the energy is its squared length. The first r terms P and the rest Q are orthogonal, so P goes the
    fraction <P, ΔW> / <ΔW, ΔW> = e of the way along ΔW, as far as e ΔW, and Q goes as far as (1 - e) ΔW.

    Args:
        change: ΔW of every matrix, by name.
        r: the rank; a matrix of a smaller one is kept whole.
    """
    first = {name: low_rank(delta, min(r, *delta.shape)) for name, delta in change.items()}
    squares = [sum(part.double().square().sum().item() for part in update.values()) for update in (first, change)]
    e = squares[0] / squares[1]
    return e, {
        "truncated": first,
        "rest": {name: delta - first[name] for name, delta in change.items()},
        "scaled": {name: e * delta for name, delta in change.items()},
        "scaled rest": {name: (1 - e) * delta for name, delta in change.items()},
    }


def intruders(base: Tensor, tuned: Tensor, first: int = 10, epsilon: float = 0.5) -> int:
    """Intruder dimensions: of the `first` left singular vectors of `tuned`, those unlike every one of `base`.

    Unlike: the largest absolute cosine with a left singular vector of `base` is below `epsilon` (Shuttleworth et al.
    2024, arXiv 2410.21228, algorithm 1).
    """
    U0 = torch.linalg.svd(base.float(), full_matrices=False).U
    U = torch.linalg.svd(tuned.float(), full_matrices=False).U[:, :first]
    return int(((U0.T @ U).abs().max(dim=0).values < epsilon).sum())
