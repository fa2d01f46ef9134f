"""Right answers to the exercises of notebook 04, as people write them."""

import numpy as np
import torch

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


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


# chosen_terms


@right("chosen_terms")
def a_diagonal_of_the_chosen(M, indices):
    U, S, Vh = np.linalg.svd(M.numpy(), full_matrices=False)
    kept = np.zeros_like(S)
    kept[indices] = S[indices]
    return torch.from_numpy(U @ np.diag(kept) @ Vh)


@right("chosen_terms")
def one_term_after_the_other(M, indices):
    U, S, V = torch.svd(M)
    total = torch.zeros_like(M)
    for i in indices:
        total += S[i] * U[:, i : i + 1] @ V[:, i : i + 1].T
    return total


add("chosen_terms", "projection", lambda M, i: (u := torch.linalg.svd(M)[0][:, i]) @ u.T @ M)
