"""Exercise: a LoRA layer whose base is frozen, and lets gradients through."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from lorabook.workbook.kit.engine import Exercise, Mistake, drawn


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
    """h = base(x) + B A x over `base`, an nn.Linear that may have a bias and sits in the middle of a model.

    Attributes: base, the module it was given; A (r, inputs), random at the start, and B (outputs, r), zero.
    A and B get gradients, base gets none, and the layers before this one get theirs.
    """

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

EXERCISES = (FROZEN_BASE,)
