"""Wrong answers to the exercises of notebook 08, as people write them."""

import copy

import torch
from torch import nn

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# label_fault


@wrong("label_fault", "if both checks pass")
def nothing_returned(labels, end):
    for row in labels:
        kept = row[row != -100]
        if not len(kept):
            return "no labels"
    if any(row[row != -100][-1] != end for row in labels):
        return "no end token"


@wrong("label_fault", "last column is padding")
def last_column(labels, end):
    if (labels == -100).all(dim=1).any():
        return "no labels"
    return "nothing" if (labels[:, -1] == end).all() else "no end token"


@wrong("label_fault", "end token in the whole batch")
def end_anywhere(labels, end):
    if (labels == -100).all(dim=1).any():
        return "no labels"
    return "nothing" if end in labels else "no end token"


@wrong("label_fault", "somewhere in an example is not enough")
def end_in_each_row(labels, end):
    for row in labels:
        if (row == -100).all():
            return "no labels"
    return "nothing" if all(end in row for row in labels) else "no end token"


@wrong("label_fault", "for a label in the whole batch")
def labels_anywhere(labels, end):
    if (labels == -100).all():
        return "no labels"
    for row in labels:
        kept = row[row != -100]
        if len(kept) and kept[-1] != end:
            return "no end token"
    return "nothing"


@wrong("label_fault", "Look at all examples before")
def first_fault_met(labels, end):
    for row in labels:
        kept = [label for label in row.tolist() if label != -100]
        if not kept:
            return "no labels"
        if kept[-1] != end:
            return "no end token"
    return "nothing"


@wrong("label_fault", "has no last label")
def last_of_none(labels, end):
    for row in labels:
        if row[row != -100][-1] != end:
            return "no end token"
    return "nothing"


# frozen_base


class Written(nn.Module):
    """A layer that its subclasses get wrong in one place."""

    def __init__(self, base, r):
        super().__init__()
        self.base = base
        self.A = nn.Parameter(torch.empty(r, base.weight.shape[1]).normal_())
        self.B = nn.Parameter(torch.zeros(base.weight.shape[0], r))

    def forward(self, x):
        return self.base(x) + nn.functional.linear(nn.functional.linear(x, self.A), self.B)


@wrong("frozen_base", "still gets gradients")
class AttributeOfTheModule(Written):
    def __init__(self, base, r):
        super().__init__(base, r)
        self.base.requires_grad = False


@wrong("frozen_base", "still gets gradients")
class EvaluationMode(Written):
    def __init__(self, base, r):
        super().__init__(base.eval(), r)


@wrong("frozen_base", "bias is still trained")
class WeightByName(Written):
    def __init__(self, base, r):
        super().__init__(base, r)
        for name, p in self.base.named_parameters():
            p.requires_grad = name != "weight"


@wrong("frozen_base", "froze A and B as well")
class AllParameters(Written):
    def __init__(self, base, r):
        super().__init__(base, r)
        for p in self.parameters():
            p.requires_grad = False


@wrong("frozen_base", "cuts the gradient")
class NoGrad(Written):
    def forward(self, x):
        with torch.no_grad():
            h = self.base(x)
        return h + x @ self.A.T @ self.B.T


@wrong("frozen_base", "cuts the gradient")
class Detached(Written):
    def __init__(self, base, r):
        super().__init__(base.requires_grad_(False), r)

    def forward(self, x):
        return self.base(x).detach() + x @ self.A.T @ self.B.T


@wrong("frozen_base", "base is a copy")
class FrozenCopy(Written):
    def __init__(self, base, r):
        super().__init__(copy.deepcopy(base).requires_grad_(False), r)


@wrong("frozen_base", "both A and B are zero")
class BothZero(Written):
    def __init__(self, base, r):
        super().__init__(base.requires_grad_(False), r)
        nn.init.zeros_(self.A)


@wrong("frozen_base", "B is not zero")
class BothRandom(Written):
    def __init__(self, base, r):
        super().__init__(base.requires_grad_(False), r)
        nn.init.normal_(self.B, std=0.02)


@wrong("frozen_base", "lost the base's bias")
class WithoutBias(Written):
    def __init__(self, base, r):
        super().__init__(base.requires_grad_(False), r)

    def forward(self, x):
        return x @ (self.base.weight + self.B @ self.A).T
