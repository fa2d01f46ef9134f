"""Right answers to the exercises of notebook 04, as people write them."""

import math

import numpy as np
import torch

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


# truncation_error

add("truncation_error", "norm", lambda S, r: S[r:].norm())
add("truncation_error", "vector_norm", lambda S, r: torch.linalg.vector_norm(S[r:]))
add("truncation_error", "dist", lambda S, r: math.dist(S[r:].tolist(), [0] * (len(S) - r)))
add("truncation_error", "NumPy", lambda S, r: np.sqrt((S.numpy()[r:] ** 2).sum()))
add("truncation_error", "item", lambda S, r: S[r:].square().sum().sqrt().item())
add("truncation_error", "a loop", lambda S, r: math.sqrt(sum(float(s) ** 2 for s in S[r:])))
add("truncation_error", "in double", lambda S, r: (S.double()[r:] ** 2).sum() ** 0.5)


# terms_needed


@right("terms_needed")
def a_loop(S, share):
    whole, held = sum(float(s) ** 2 for s in S), 0.0
    for r, s in enumerate(S, 1):
        held += float(s) ** 2
        if held >= share * whole:
            return r


add(
    "terms_needed", "searchsorted", lambda S, share: int(torch.searchsorted((S**2).cumsum(0) / (S**2).sum(), share)) + 1
)
add(
    "terms_needed", "NumPy", lambda S, share: np.argmax(np.cumsum(S.numpy() ** 2) >= share * (S.numpy() ** 2).sum()) + 1
)


@right("terms_needed")
def by_what_is_left_out(S, share):
    return min(r for r in range(len(S) + 1) if (S[r:] ** 2).sum() <= (1 - share) * (S**2).sum())
