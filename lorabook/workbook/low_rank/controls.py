"""What an update ΔW consists of: its parts, beside controls of the same energy."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lorabook.workbook.low_rank.svd import low_rank


def parts(change: Mapping[str, Tensor], r: int) -> tuple[float, dict[str, dict[str, Tensor]]]:
    """The fraction e of ΔW's energy in the first r SVD terms of every matrix, and six updates made from ΔW.

    truncated: the first r terms, of energy e. rest: all other terms, of energy 1 - e, since they are orthogonal to the
    first. The controls have the same energies. scaled, scaled rest: √e ΔW and √(1 - e) ΔW. random: each entry of ΔW
    with probability e, else zero, so of energy e on average; random rest: the other entries. The energy of an update is
    the sum of its squared entries over all matrices; ΔW's own is 1 here.

    Args:
        change: ΔW of every matrix, by name.
        r: the rank; a matrix of a smaller one is kept whole.
    """
    first = {name: low_rank(delta, min(r, *delta.shape)) for name, delta in change.items()}
    squares = [sum(part.double().square().sum().item() for part in update.values()) for update in (first, change)]
    e = squares[0] / squares[1]
    generator = torch.Generator().manual_seed(0)
    kept = {name: torch.rand(delta.shape, generator=generator) < e for name, delta in change.items()}
    return e, {
        "truncated": first,
        "rest": {name: delta - first[name] for name, delta in change.items()},
        "scaled": {name: e**0.5 * delta for name, delta in change.items()},
        "scaled rest": {name: (1 - e) ** 0.5 * delta for name, delta in change.items()},
        "random": {name: delta * kept[name] for name, delta in change.items()},
        "random rest": {name: delta * ~kept[name] for name, delta in change.items()},
    }
