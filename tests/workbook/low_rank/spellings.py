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


# alone_and_without


@right("alone_and_without")
def through_recoveries(loss):
    def recovery(which):
        return (loss["old"] - loss[which]) / (loss["old"] - loss["all"])

    return recovery("part"), 1 - recovery("rest")


add(
    "alone_and_without",
    "interpolated",
    lambda x: [
        float(np.interp(x["part"], [x["all"], x["old"]], [1, 0])),
        float(np.interp(x["rest"], [x["all"], x["old"]], [0, 1])),
    ],
)


@right("alone_and_without")
def with_tensors(loss):
    old, full, part, rest = torch.tensor([loss[name] for name in ("old", "all", "part", "rest")], dtype=torch.float64)
    return ((old - part) / (old - full)).item(), ((rest - full) / (old - full)).item()
