"""Right answers to the exercises of notebook 03, as people write them."""

import math

import numpy as np
import torch

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


# spread_budget


@right("spread_budget")
def as_many_as_fit(shapes, blocks, budget):
    cheapest = sorted(shapes, key=lambda name: shapes[name][0] + shapes[name][1])
    targets = []
    for name in cheapest:
        if blocks * sum(sum(shapes[t]) for t in [*targets, name]) > budget:
            break
        targets.append(name)
    at_rank_1 = blocks * sum(sum(shapes[t]) for t in targets)
    return targets, min(budget // at_rank_1, *(d * k // (d + k) for d, k in map(shapes.get, targets)), 10**9)


@right("spread_budget")
def rank_raised_step_by_step(shapes, blocks, budget):
    def cost(names, r):
        return blocks * sum(r * (shapes[n][0] + shapes[n][1]) for n in names)

    chosen = []
    for n in sorted(shapes, key=lambda n: sum(shapes[n])):
        if cost([*chosen, n], 1) <= budget:
            chosen.append(n)
    r = 1
    while cost(chosen, r + 1) <= budget and all((r + 1) * sum(shapes[n]) <= math.prod(shapes[n]) for n in chosen):
        r += 1
    return tuple(reversed(chosen)), r


@right("spread_budget")
def by_running_sums(shapes, blocks, budget):
    names = sorted(shapes, key=lambda n: sum(shapes[n]))
    costs = np.cumsum([blocks * sum(shapes[n]) for n in names])
    count = int((costs <= budget).sum())
    limits = [np.prod(shapes[n]) // sum(shapes[n]) for n in names[:count]]
    return names[:count], min(budget // costs[count - 1], min(limits))


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
