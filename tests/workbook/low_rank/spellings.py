"""Right answers to the exercises of notebook 04, as people write them."""

import math

import numpy as np
import torch

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


# break_even

add("break_even", "floor", lambda d, k: math.floor(d * k / (d + k)))
add("break_even", "int", lambda d, k: int(d * k / (d + k)))
add("break_even", "NumPy", lambda d, k: np.floor_divide(d * k, d + k))


@right("break_even")
def counted_up(d, k):
    r = 0
    while (r + 1) * k + d * (r + 1) <= d * k:
        r += 1
    return r


@right("break_even")
def first_too_large(d, k):
    return next(r for r in range(1, d * k + 2) if r * (d + k) > d * k) - 1


# truncation_error

add("truncation_error", "norm", lambda S, r: S[r:].norm())
add("truncation_error", "vector_norm", lambda S, r: torch.linalg.vector_norm(S[r:]))
add("truncation_error", "dist", lambda S, r: math.dist(S[r:].tolist(), [0] * (len(S) - r)))
add("truncation_error", "NumPy", lambda S, r: np.sqrt((S.numpy()[r:] ** 2).sum()))
add("truncation_error", "item", lambda S, r: S[r:].square().sum().sqrt().item())
add("truncation_error", "a loop", lambda S, r: math.sqrt(sum(float(s) ** 2 for s in S[r:])))
add("truncation_error", "in double", lambda S, r: (S.double()[r:] ** 2).sum() ** 0.5)

# rank_for_energy


@right("rank_for_energy")
def added_up(S, share):
    total, kept = float((S**2).sum()), 0.0
    for r, s in enumerate(S.tolist(), 1):
        kept += s**2
        if kept >= share * total:
            return r


@right("rank_for_energy")
def by_searching(S, share):
    energy = S.double().square()
    return torch.searchsorted(energy.cumsum(0) / energy.sum(), share).item() + 1


@right("rank_for_energy")
def by_argmax(S, share):
    energy = (S**2).cumsum(dim=0)
    return (energy / energy[-1] >= share).int().argmax() + 1


@right("rank_for_energy")
def by_numpy_sums(S, share):
    energy = np.cumsum(S.numpy() ** 2)
    return np.argmax(energy >= share * energy[-1]) + 1


add(
    "rank_for_energy",
    "next",
    lambda S, q: next(r for r in range(len(S) + 1) if (S[:r] ** 2).sum() >= q * (S**2).sum()),
)
