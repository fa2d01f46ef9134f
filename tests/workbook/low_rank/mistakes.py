"""Wrong answers to the exercises of notebook 04, as people write them."""

import numpy as np
import torch

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# terms_needed


def first(held, share):
    return next(r for r, part in enumerate(held / held[-1], 1) if part >= share)


@wrong("terms_needed", "σ, not σ²")
def energy_of_sigma(S, share):
    return first(torch.cumsum(S, 0), share)


@wrong("terms_needed", "one too low")
def index_of_the_term(S, share):
    return first(torch.cumsum(S**2, 0), share) - 1


@wrong("terms_needed", "one too high")
def one_term_more(S, share):
    return first(torch.cumsum(S**2, 0), share) + 1


@wrong("terms_needed", "from the smallest")
def smallest_first(S, share):
    return first(torch.cumsum(S.sort().values ** 2, 0), share)


@wrong("terms_needed", "energy of these terms")
def the_energy_held(S, share):
    held = torch.cumsum(S**2, 0) / (S**2).sum()
    return float(held[held >= share].min())


@wrong("terms_needed", "compared the norm")
def share_of_the_norm(S, share):
    return first(torch.cumsum(S**2, 0).sqrt(), share)


# chosen_terms


@wrong("chosen_terms", "left out the singular values")
def values_forgotten(M, indices):
    U, _, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, indices] @ Vh[indices]


@wrong("chosen_terms", "kept the first terms")
def as_many_first_ones(M, indices):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    r = len(indices)
    return (U[:, :r] * S[:r]) @ Vh[:r]


@wrong("chosen_terms", "up to the last one")
def up_to_the_last(M, indices):
    U, S, Vh = np.linalg.svd(M.numpy(), full_matrices=False)
    r = indices[-1] + 1
    return torch.from_numpy((U[:, :r] * S[:r]) @ Vh[:r])


@wrong("chosen_terms", "removed the listed terms")
def the_others(M, indices):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    S[indices] = 0
    return U @ torch.diag(S) @ Vh


@wrong("chosen_terms", "counted the terms from 1")
def from_one(M, indices):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return sum(S[i - 1] * torch.outer(U[:, i - 1], Vh[i - 1]) for i in indices)
