"""Wrong answers to the exercises of notebook 04, as people write them."""

import math

import numpy as np
import torch

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# truncation_error


@wrong("truncation_error", "σ, not σ²")
def sum_of_sigma(S, r):
    return sum(S[r:].tolist())


@wrong("truncation_error", "σ, not σ²")
def root_of_sum_of_sigma(S, r):
    return torch.sqrt(torch.sum(S[r:]))


@wrong("truncation_error", "σ_r as lost")
def sigma_r_counted(S, r):
    return math.sqrt(sum(float(S[i]) ** 2 for i in range(len(S)) if i + 1 >= r))


@wrong("truncation_error", "the root")
def root_forgotten(S, r):
    return (S[r:] * S[r:]).sum()


@wrong("truncation_error", "what is kept")
def kept_part(S, r):
    return np.linalg.norm(S[:r].numpy())


@wrong("truncation_error", "norm of the matrix")
def relative(S, r):
    return (S[r:].square().sum() / S.square().sum()).sqrt()


@wrong("truncation_error", "spectral norm")
def largest_left_out(S, r):
    return max(S[r:].tolist(), default=0)


@wrong("truncation_error", "σ_(r+1)")
def first_lost_skipped(S, r):
    return torch.linalg.vector_norm(S[r + 1 :])


@wrong("truncation_error", "averaged the squares")
def root_mean_square(S, r):
    return torch.sqrt(torch.mean(S[r:] ** 2))


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
