"""Parts of an update ΔW that hold the same energy: what truncation to a rank is to be compared with.

The energy of a matrix is ||M||_F^2, the sum of its squared entries and of its squared singular values.
"""

import torch
from torch import Tensor

from lorabook.workbook.low_rank.svd import energy_kept, truncated_svd


def same_energy(delta: Tensor, r: int, generator: torch.Generator) -> tuple[float, dict[str, Tensor]]:
    """The share e of ΔW's energy that rank r keeps, and four matrices of energy e ||ΔW||_F^2 in ΔW's shape.

    truncated: the closest matrix of rank r. shrunk: sqrt(e) ΔW. directions: singular directions of ΔW in random order,
    as many as reach the energy. entries: a share e of the entries. The last two are scaled to hold it exactly.
    """
    U, S, Vh = truncated_svd(delta, min(delta.shape))
    r = min(r, len(S))
    share = energy_kept(S, r)
    wanted = share * delta.square().sum()

    order = torch.randperm(len(S), generator=generator)
    reached = S[order].square().cumsum(0)
    some = order[: int((reached < wanted * (1 - 1e-6)).sum()) + 1]
    keep = torch.rand(delta.shape, generator=generator) < share
    parts = {
        "truncated": (U[:, :r] * S[:r]) @ Vh[:r],
        "shrunk": share**0.5 * delta,
        "directions": (U[:, some] * S[some]) @ Vh[some],
        "entries": delta * keep,
    }
    for way in ("directions", "entries"):
        parts[way] = parts[way] * (wanted / parts[way].square().sum()).sqrt()
    return share, parts


def intruders(base: Tensor, tuned: Tensor, first: int = 10, epsilon: float = 0.5) -> int:
    """Intruder dimensions: of the `first` left singular vectors of `tuned`, those unlike every one of `base`.

    Unlike: the largest absolute cosine with a left singular vector of `base` is below `epsilon` (Shuttleworth et al.
    2024, arXiv 2410.21228, algorithm 1).
    """
    U0 = torch.linalg.svd(base.float(), full_matrices=False).U
    U = torch.linalg.svd(tuned.float(), full_matrices=False).U[:, :first]
    return int(((U0.T @ U).abs().max(dim=0).values < epsilon).sum())
