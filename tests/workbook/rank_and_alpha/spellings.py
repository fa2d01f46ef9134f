"""Right answers to the exercises of notebook 03, as people write them."""

import math

import numpy as np
import torch

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


# largest_rank

add("largest_rank", "NumPy", lambda shapes, blocks, budget: budget // (blocks * np.array(shapes).sum()))
add("largest_rank", "floor", lambda shapes, blocks, budget: math.floor(budget / (blocks * sum(sum(s) for s in shapes))))


@right("largest_rank")
def raised_step_by_step(shapes, blocks, budget):
    r = 0
    while blocks * sum((r + 1) * d + (r + 1) * k for d, k in shapes) <= budget:
        r += 1
    return r


@right("largest_rank")
def per_block(shapes, blocks, budget):
    return (budget // blocks) // sum(d + k for d, k in shapes)


# same_effect

add("same_effect", "powers", lambda alpha, r, new_r, rslora: alpha * (r / new_r) ** (0.5 if rslora else 0))
add("same_effect", "roots", lambda alpha, r, new_r, rslora: alpha * r**0.5 / new_r**0.5 if rslora else float(alpha))
add("same_effect", "NumPy", lambda alpha, r, new_r, rslora: np.sqrt(r) * alpha / np.sqrt(new_r) if rslora else alpha)


@right("same_effect")
def by_the_effect(alpha, r, new_r, rslora):
    def effect(alpha, r):
        return r * (alpha / math.sqrt(r) if rslora else alpha / r)

    return alpha * effect(alpha, r) / effect(alpha, new_r)


@right("same_effect")
def by_tensors(alpha, r, new_r, rslora):
    return alpha * torch.tensor(r / new_r).sqrt() if rslora else torch.tensor(alpha)
