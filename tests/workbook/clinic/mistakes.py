"""Wrong answers to the exercises of notebook 08, as people write them."""

import copy

import torch
from torch import nn

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# diagnose


def doctor(
    nan=lambda losses, norms: any(norm != norm for norm in norms),
    rest=("no labels", "jump", "no improvement"),
    otherwise="healthy",
    **checks,
):
    """A doctor with one thing wrong: how it looks for NaN, in which order for the rest, or one of its `checks`."""

    def answer(losses, grad_norms, held_out):
        before, after = held_out
        fits = {
            "no labels": sum(grad_norms) == 0,
            "jump": checks.get("peak", max)(losses) > 2 * losses[0],
            "no improvement": checks.get("drop", lambda b, a: b - a)(before, after) < 0.05,
        }
        if nan(losses, grad_norms):
            return "NaN"
        for name in rest:
            if fits[name]:
                return name
        return otherwise

    return answer


for label, fragment, answer in (
    ("never healthy", "took a healthy run for one without improvement", doctor(otherwise="no improvement")),
    ("healthy is None", "without a fault", doctor(otherwise=None)),
    ("equal to NaN", "found no NaN", doctor(nan=lambda losses, norms: any(norm == float("nan") for norm in norms))),
    ("in the losses", "Trainer logs 0.0", doctor(nan=lambda losses, norms: any(loss != loss for loss in losses))),
    ("the first step", "found no NaN", doctor(nan=lambda losses, norms: norms[0] != norms[0])),
    ("labels last", 'before "no improvement"', doctor(rest=("jump", "no improvement", "no labels"))),
    ("the last loss", "come down again", doctor(peak=lambda losses: losses[-1])),
    ("flat first", "a jump first", doctor(rest=("no labels", "no improvement", "jump"))),
    ("any change", "a rise of the held-out loss", doctor(drop=lambda b, a: abs(b - a))),
    ("after minus before", "took a healthy run for one without improvement", doctor(drop=lambda b, a: a - b)),
):
    bank.add("diagnose", label, fragment, answer)


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
