"""The exercises of notebook 08: a small doctor to write, and a bug of a real program to fix."""

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

from lorabook.workbook.kit.exercise import Exercise, Mistake, cases, drawn

# diagnose

NAN = float("nan")


def _case(
    losses,
    grad_norms,
    held_out,
    ill=lambda losses, norms: any(map(math.isnan, norms)),
    jumps=lambda losses: max(losses) > 2 * losses[0],
    flat=lambda before, after: before - after < 0.05,
    order=("NaN", "no labels", "jump", "no improvement"),
    healthy="healthy",
):
    """A right answer whose decisions can be changed one at a time."""
    found = {
        "NaN": lambda: ill(losses, grad_norms),
        "no labels": lambda: not any(grad_norms),
        "jump": lambda: jumps(losses),
        "no improvement": lambda: flat(*held_out),
    }
    return next((name for name in order if found[name]()), healthy)


def _decided(**changed):
    return lambda losses, grad_norms, held_out: _case(losses, grad_norms, held_out, **changed)


def _log(losses, grad_norms, held_out):
    return f"for losses {losses}, gradient norms {grad_norms} and held-out losses {held_out}"


DIAGNOSE = Exercise(
    name="diagnose",
    task="What a run's log shows.",
    stub='''\
def diagnose(losses, grad_norms, held_out):
    """What a run's log shows: "NaN", "no labels", "jump", "no improvement" or "healthy".

    losses, grad_norms: lists with one number for each step.
    held_out: the held-out loss before and after training.

    "NaN": a gradient norm is NaN (math.isnan). The loss may be logged as 0.0 then.
    "no labels": all gradient norms are 0.
    "jump": some loss is more than twice the first.
    "no improvement": the held-out loss drops by less than 0.05, or rises,
    as when a run overfits.
    If several match, return the first in this order.
    """
    raise NotImplementedError
''',
    hint="Four `if`s, in the order of the list, each with a `return`. NaN equals nothing, not even itself.",
    solution="""\
import math


def diagnose(losses, grad_norms, held_out):
    if any(math.isnan(norm) for norm in grad_norms):
        return "NaN"
    if all(norm == 0 for norm in grad_norms):
        return "no labels"
    if max(losses) > 2 * losses[0]:
        return "jump"
    before, after = held_out
    if before - after < 0.05:
        return "no improvement"
    return "healthy"
""",
    praise="a small doctor. `lorabook doctor --run` works the same way, with more cases.",
    reference=_case,
    probes=(
        cases(_log, ([3.0, 2.8, 2.6], [0.5, 0.6, 0.5], (3.0, 2.6))),
        cases(_log, ([3.4, NAN, NAN], [0.9, NAN, NAN], (3.1, NAN)), ([3.4, 0.0, 0.0], [0.9, NAN, NAN], (3.1, NAN))),
        cases(_log, ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], (3.1, 3.1)), ([NAN, NAN, NAN], [0.0, 0.0, 0.0], (3.1, 3.1))),
        cases(
            _log, ([3.0, 2.9, 7.5, 4.0], [0.6, 0.9, 9.0, 0.4], (3.1, 4.0)), ([3.0, 7.0, 2.9], [0.6, 9.0, 1], (3.1, 3))
        ),
        cases(_log, ([3.5, 3.2, 3.3], [0.6, 0.5, 0.4], (3.09, 3.07)), ([3.0, 2.9, 2.8], [0.6, 0.5, 0.4], (3.1, 3.2))),
        cases(_log, ([3.0, 2.9, 2.8], [0.6, 0.0, 0.4], (3.1, 2.9)), ([3.0, 6.0, 2.8], [0.6, 0.9, 0.4], (3.1, 2.9))),
    ),
    mistakes=(
        Mistake('a run without a fault is "healthy".', (_decided(healthy=None),)),
        Mistake(
            "you took a healthy run for one without improvement: its loss drops by `before - after`, 0.05 or more.",
            (_decided(healthy="no improvement"), _decided(flat=lambda before, after: after - before < 0.05)),
        ),
        Mistake(
            "you found no NaN. NaN is not equal to itself, so use math.isnan, and look at every step.",
            (_decided(ill=lambda losses, norms: False), _decided(ill=lambda losses, norms: math.isnan(norms[0]))),
        ),
        Mistake(
            "you looked for NaN in the losses. Trainer logs 0.0 there: look at the gradient norms.",
            (_decided(ill=lambda losses, norms: any(map(math.isnan, losses))),),
        ),
        Mistake(
            'a run without labels has a held-out loss that stays, too. Look for that before "no improvement".',
            (
                _decided(order=("NaN", "no improvement", "jump", "no labels")),
                _decided(order=("NaN", "jump", "no improvement", "no labels")),
                _decided(order=("NaN", "jump", "no improvement")),
            ),
        ),
        Mistake(
            "you looked at the last loss. A run can jump and come down again: look at all losses.",
            (_decided(jumps=lambda losses: losses[-1] > 2 * losses[0]),),
        ),
        Mistake(
            "a run whose loss jumps can have a held-out loss that rises, too. Look for a jump first.",
            (_decided(order=("NaN", "no labels", "no improvement", "jump")),),
        ),
        Mistake(
            "you took a rise of the held-out loss for a drop. It drops by `before - after`.",
            (_decided(flat=lambda before, after: abs(after - before) < 0.05),),
        ),
    ),
)


# frozen_base


def _built(answer):
    """The layer over a fixed base, and the base; B is filled, so that A has a gradient."""
    base = nn.Linear(6, 5)
    with torch.no_grad():
        base.weight.copy_(drawn(5, 6, seed=1))
        base.bias.copy_(drawn(5, seed=2))
    layer = answer(base, 2)
    return layer, base


def _begins(answer):
    layer, _ = _built(answer)
    return {"B is zero at the start": not layer.B.any(), "A is not zero at the start": bool(layer.A.any())}


def _pass(answer):
    """One forward and one backward pass with filled factors."""
    layer, base = _built(answer)
    with torch.no_grad():
        layer.A.copy_(drawn(2, 6, seed=3))
        layer.B.copy_(drawn(5, 2, seed=4))
    x = drawn(4, 6, seed=5).requires_grad_()
    y = layer(x)
    (y * drawn(4, 5, seed=6)).sum().backward()
    return layer, base, x, y


def _output(answer):
    return {"for filled A and B, the output": _pass(answer)[3]}


def _reached(answer):
    layer, *_ = _pass(answer)
    named = {"A": layer.A, "B": layer.B, "base.weight": layer.base.weight, "base.bias": layer.base.bias}
    return {"for one backward pass, what gets a gradient": [n for n, p in named.items() if p.grad is not None]}


def _passed_on(answer):
    return {"for one backward pass, the gradient that reaches x": _pass(answer)[2].grad}


def _no_copy(answer):
    layer, base = _built(answer)
    return {
        "layer.base is the base itself": layer.base is base,
        "nothing asks for a gradient but A and B": {n for n, p in layer.named_parameters() if p.requires_grad}
        == {"A", "B"},
    }


class _Layer(nn.Module):
    """A right answer whose decisions can be changed one at a time; freeze: what is done to the base."""

    def __init__(self, base, r, a=torch.randn, b=torch.zeros):
        super().__init__()
        self.base = base
        self.A = nn.Parameter(a(r, base.in_features))
        self.B = nn.Parameter(b(base.out_features, r))
        self.freeze()

    def freeze(self):
        self.base.requires_grad_(False)

    def forward(self, x):
        return self.base(x) + x @ self.A.T @ self.B.T


class _Trainable(_Layer):
    def freeze(self):
        pass


class _WeightAlone(_Layer):
    def freeze(self):
        self.base.weight.requires_grad_(False)


class _AllFrozen(_Layer):
    def freeze(self):
        self.requires_grad_(False)


class _Cut(_Layer):
    def forward(self, x):
        with torch.no_grad():
            h = self.base(x)
        return h + x @ self.A.T @ self.B.T


class _CutTrainable(_Cut, _Trainable):
    pass


class _Copied(_Layer):
    def __init__(self, base, r):
        super().__init__(copy.deepcopy(base), r)


class _NoBias(_Layer):
    def forward(self, x):
        return F.linear(x, self.base.weight + self.B @ self.A)


FROZEN_BASE = Exercise(
    name="frozen_base",
    task="A LoRA layer that trains A and B and nothing else.",
    stub='''\
import torch
from torch import nn


class Layer(nn.Module):
    """h = base(x) + B A x, where `base` is an nn.Linear, with or without a bias.

    Attributes: base, the module it was given; A (r, inputs), random at the start;
    B (outputs, r), zero at the start. Only A and B are trained, but gradients must
    still reach earlier layers."""

    def __init__(self, base, r):
        super().__init__()
        raise NotImplementedError

    def forward(self, x):
        raise NotImplementedError
''',
    hint="A module has a method that sets requires_grad of all its parameters. Freezing weights and cutting the "
    "gradient on its way to x are two things.",
    solution="""\
import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self, base, r):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(r, base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, r))

    def forward(self, x):
        return self.base(x) + x @ self.A.T @ self.B.T
""",
    praise="frozen is what keeps its weights, not what stops a gradient on its way through.",
    reference=_Layer,
    probes=(_begins, _output, _reached, _passed_on, _no_copy),
    mistakes=(
        Mistake(
            "the base still gets gradients. base.requires_grad_(False) freezes it; base.requires_grad = False only "
            "sets an attribute that nothing reads, and eval() freezes nothing.",
            (_Trainable,),
        ),
        Mistake("the base's bias is still trained. base.requires_grad_(False) freezes both.", (_WeightAlone,)),
        Mistake("you froze A and B as well. Then nothing is trained.", (_AllFrozen,)),
        Mistake(
            "no_grad around the base, or a detach, cuts the gradient on its way to x: the layers before this one learn "
            "a wrong thing. Freeze the weights instead.",
            (_Cut, _CutTrainable),
        ),
        Mistake(
            "your base is a copy, so a model holds each frozen weight twice. Freeze the module you were given.",
            (_Copied,),
        ),
        Mistake(
            "both A and B are zero. Then neither ever gets a gradient.",
            (lambda base, r: _Layer(base, r, a=torch.zeros),),
        ),
        Mistake("B is not zero, so the layer does not start as its base.", (lambda b, r: _Layer(b, r, b=torch.randn),)),
        Mistake("you lost the base's bias.", (_NoBias,)),
    ),
)


EXERCISES = (DIAGNOSE, FROZEN_BASE)
