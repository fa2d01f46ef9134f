"""The exercises of notebook 08: a check of a batch's labels to write, and a bug of a real program to fix."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from lorabook.workbook.kit.exercise import Exercise, Mistake, cases, drawn

# label_fault

END, M = 0, -100


def _kept(labels):
    """The labels that are not masked, of each example."""
    return [row[row != M].tolist() for row in labels]


def _fault(
    labels,
    end,
    empty=lambda labels: not all(_kept(labels)),
    cut=lambda labels, end: any(kept[-1:] != [end] for kept in _kept(labels)),
    order=("no labels", "no end token"),
    fine="nothing",
):
    """A right answer whose decisions can be changed one at a time."""
    found = {"no labels": lambda: empty(labels), "no end token": lambda: cut(labels, end)}
    return next((name for name in order if found[name]()), fine)


def _decided(**changed):
    return lambda labels, end: _fault(labels, end, **changed)


def _early(labels, end):
    """The first fault that is met, example by example."""
    return next((fault for row in labels if (fault := _fault(row[None], end)) != "nothing"), "nothing")


def _last_of_none(labels, end):
    return "nothing" if all(row[row != M][-1] == end for row in labels) else "no end token"


def _last_of_empty_list(labels, end):
    return "nothing" if all(kept[-1] == end for kept in _kept(labels)) else "no end token"


def _batch(*rows, end=END):
    return torch.tensor(rows), end


def _shown(labels, end):
    return f"for labels {labels.tolist()} and end = {end}"


LABEL_FAULT = Exercise(
    name="label_fault",
    task="What is wrong with the labels of a batch.",
    stub='''\
def label_fault(labels, end):
    """What is wrong with a batch's labels: "no labels", "no end token" or "nothing".

    labels: a tensor of ids, with a row for each example. Masked labels are −100.
    end: the id of the end token.

    "no labels": in some example, all labels are masked.
    "no end token": in some example, the last label that isn't masked is not `end`.
    If both are wrong, return "no labels".
    """
    raise NotImplementedError
''',
    hint="Go through the rows. `row[row != -100]` keeps the labels that aren't masked.",
    solution="""\
def label_fault(labels, end):
    fault = "nothing"
    for row in labels:
        kept = row[row != -100]
        if len(kept) == 0:
            return "no labels"
        if kept[-1] != end:
            fault = "no end token"
    return fault
""",
    praise="call it on the first batch of every run.",
    reference=_fault,
    probes=(
        cases(_shown, _batch([M, 5, END], [M, 7, END])),
        cases(_shown, _batch([M, 5, 6, END], [M, 7, END, M]), _batch([M, END, 3], [5, 3, M], end=3)),
        cases(_shown, _batch([M, 5, 6], [M, 7, END])),
        cases(_shown, _batch([M, END, 6], [7, END, M])),
        cases(_shown, _batch([M, M, M], [M, M, M])),
        cases(_shown, _batch([M, 5, END], [M, M, M])),
        cases(_shown, _batch([M, 5, 6], [M, M, M])),
    ),
    mistakes=(
        Mistake('if both checks pass, the answer is "nothing".', (_decided(fine=None), _decided(fine="no end token"))),
        Mistake(
            "the last column is padding where an example is short. Look at the last label that isn't masked.",
            (_decided(cut=lambda labels, end: bool((labels[:, -1] != end).any())),),
        ),
        Mistake(
            "you looked for an end token in the whole batch. Look in each example: one that was truncated has none.",
            (_decided(cut=lambda labels, end: not (labels == end).any()),),
        ),
        Mistake(
            "an end token somewhere in an example is not enough. It has to be the last label.",
            (_decided(cut=lambda labels, end: not (labels == end).any(dim=1).all()),),
        ),
        Mistake(
            "you looked for a label in the whole batch. An example without labels is wrong, even if others have some.",
            (
                _decided(
                    empty=lambda labels: not (labels != M).any(),
                    cut=lambda labels, end: any(kept and kept[-1] != end for kept in _kept(labels)),
                ),
            ),
        ),
        Mistake(
            'if both are wrong, the answer is "no labels". Look at all examples before you return "no end token".',
            (_early, _decided(order=("no end token", "no labels")), _decided(empty=lambda labels: False)),
        ),
        Mistake("an example in which all labels are masked has no last label.", (_last_of_none, _last_of_empty_list)),
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


EXERCISES = (LABEL_FAULT, FROZEN_BASE)
