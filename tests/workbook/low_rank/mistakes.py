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


# break_even


@wrong("break_even", "min(d, k)")
def full_rank(d, k):
    return min((d, k))


@wrong("break_even", "half the matrix")
def half_the_numbers(d, k):
    return (d * k) // 2


@wrong("break_even", "turned the fraction round")
def inverted(d, k):
    return (d + k) / (d * k)


@wrong("break_even", "rounded up")
def rounded_up(d, k):
    r = 0
    while r * (d + k) < d * k:
        r += 1
    return r


@wrong("break_even", "to the nearest rank")
def rounded(d, k):
    return round(d * k / (d + k))


@wrong("break_even", "one factor")
def b_alone(d, k):
    return d * k // d  # r * d = d * k


@wrong("break_even", "for square")
def taken_for_square(d, k):
    return d * k // (2 * d)


@wrong("break_even", "you gave a fraction")
def not_rounded(d, k):
    return 1 / (1 / d + 1 / k)


@wrong("break_even", "both hold equally many")
def strictly_fewer(d, k):
    r = 0
    while (r + 1) * (d + k) < d * k:
        r += 1
    return r


# rank_for_energy


@wrong("rank_for_energy", "share of σ.")
def share_of_sigma(S, share):
    kept = S.cumsum(0) / S.sum()
    return int((kept < share).sum()) + 1


@wrong("rank_for_energy", "counts from 0")
def counted_from_0(S, share):
    total, kept = float((S**2).sum()), 0.0
    for i, s in enumerate(S.tolist()):
        kept += s * s
        if kept >= share * total:
            return i


@wrong("rank_for_energy", "one rank too many")
def one_more(S, share):
    kept = np.cumsum(S.numpy() ** 2) / np.sum(S.numpy() ** 2)
    return int(np.argmax(kept >= share)) + 2


@wrong("rank_for_energy", "met exactly")
def more_than_the_share(S, share):
    kept = (S**2).cumsum(0) / (S**2).sum()
    return int((kept <= share).sum()) + 1


@wrong("rank_for_energy", "from the smallest")
def from_the_smallest(S, share):
    squares, r = sorted(s * s for s in S.tolist()), 0
    while sum(squares[:r]) < share * sum(squares):
        r += 1
    return r


@wrong("rank_for_energy", "of the norm")
def share_of_the_norm(S, share):
    return next(r for r in range(1, len(S) + 1) if S[:r].norm() >= share * S.norm())


@wrong("rank_for_energy", "number of singular values")
def share_of_their_number(S, share):
    return math.ceil(share * S.numel())


@wrong("rank_for_energy", "above a mark")
def above_a_mark(S, share):
    return sum(s >= (1 - share) * float(S.max()) for s in S.tolist())


@wrong("rank_for_energy", "the energy that is kept")
def energy_given(S, share):
    kept = (S**2).cumsum(0) / (S**2).sum()
    return kept[kept >= share][0]
