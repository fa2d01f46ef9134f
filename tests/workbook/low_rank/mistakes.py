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


# alone_and_without


def fractions(x, *gains):
    return tuple(gain / (x["old"] - x["all"]) for gain in gains)


@wrong("alone_and_without", "what the rest recovers")
def both_recoveries(loss):
    return [(loss["old"] - loss[which]) / (loss["old"] - loss["all"]) for which in ("part", "rest")]


@wrong("alone_and_without", "left to gain with the part alone")
def adding_up_to_one(loss):
    alone = (loss["old"] - loss["part"]) / (loss["old"] - loss["all"])
    return alone, 1 - alone


@wrong("alone_and_without", "in the other order")
def swapped(loss):
    return fractions(loss, loss["rest"] - loss["all"], loss["old"] - loss["part"])


@wrong("alone_and_without", "these are losses")
def not_divided(loss):
    old, full, part, rest = loss.values()
    return old - part, rest - full


@wrong("alone_and_without", "divided by the old loss")
def of_the_old_loss(loss):
    return 1 - loss["part"] / loss["old"], (loss["rest"] - loss["all"]) / loss["old"]


@wrong("alone_and_without", "gave percentages")
def percentages(loss):
    return [100 * each for each in fractions(loss, loss["old"] - loss["part"], loss["rest"] - loss["all"])]


@wrong("alone_and_without", "signs are turned round")
def turned_round(loss):
    alone, without = fractions(loss, loss["part"] - loss["old"], loss["all"] - loss["rest"])
    return alone, without
