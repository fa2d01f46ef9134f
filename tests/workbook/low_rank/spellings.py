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
