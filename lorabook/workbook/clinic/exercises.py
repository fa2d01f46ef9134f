"""The exercises of notebook 08: three bugs of real programs to fix."""

import copy
import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from lorabook.workbook.kit.exercise import Exercise, Mistake, cases, drawn

# lora_update


def _update(scaling):
    """LoRA's update with another scaling, a function of α and A."""
    return lambda x, A, B, alpha: scaling(alpha, A) * (x @ A.T @ B.T)


def _sizes(r, alpha, d=6, k=5):
    return drawn(3, k, seed=1), drawn(r, k, seed=2), drawn(d, r, seed=3), alpha


LORA_UPDATE = Exercise(
    name="lora_update",
    task="What LoRA adds to a layer's output, as every program that loads the adapter will.",
    stub='''\
def lora_update(x, A, B, alpha):
    """What LoRA adds to a layer's output. Duplicating every row of A and every column
    of B, so that r doubles, must leave the result unchanged.

    x: (batch, k), A: (r, k), B: (d, r) -> (batch, d).
    """
    raise NotImplementedError
''',
    hint="Where in `alpha * (x @ A.T @ B.T)` is the rank? And which side of A is it?",
    solution="""\
def lora_update(x, A, B, alpha):
    return alpha / A.shape[0] * (x @ A.T @ B.T)
""",
    praise="α/r, so a larger rank sums more directions and counts each less.",
    reference=_update(lambda alpha, A: alpha / len(A)),
    probes=(
        cases(lambda x, A, B, alpha: f"for r = {len(A)} and α = {alpha}", _sizes(4, 14), _sizes(2, 3), _sizes(1, 2)),
    ),
    mistakes=(
        Mistake("you still multiply by α, not α/r.", (_update(lambda alpha, A: alpha),)),
        Mistake("you took α out and put no α/r in.", (_update(lambda alpha, A: 1),)),
        Mistake(
            "you divided by √r, which is rsLoRA's rule. A loader that is told nothing of it divides by r.",
            (_update(lambda alpha, A: alpha / math.sqrt(len(A))),),
        ),
        Mistake(
            "you divided by a width. r is the number of A's rows, and of B's columns.",
            (_update(lambda alpha, A: alpha / A.shape[1]), lambda x, A, B, alpha: alpha / len(B) * (x @ A.T @ B.T)),
        ),
        Mistake("you divided and dropped the rest: // is for whole numbers.", (_update(lambda a, A: a // len(A)),)),
        Mistake("you turned the ratio round. It is α/r.", (_update(lambda alpha, A: len(A) / alpha),)),
        Mistake("you divided by r and lost α.", (_update(lambda alpha, A: 1 / len(A)),)),
        Mistake("you divided by r twice.", (_update(lambda alpha, A: alpha / len(A) ** 2),)),
        Mistake(
            "your scaling is 2 whatever α and r are. That is right for α = 2r alone.", (_update(lambda alpha, A: 2),)
        ),
    ),
)

# merge_head


class _Tied(nn.Module):
    """What a language model's two ends are made of: one frozen tensor of (vocabulary, width)."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 5), nn.Linear(5, 7, bias=False)
        self.embedding.weight = self.head.weight = nn.Parameter(drawn(7, 5).to(dtype), requires_grad=False)
        self.config = SimpleNamespace(tie_word_embeddings=True)


def _merged(answer, dtype=torch.float32):
    model = _Tied(dtype)
    answer(model, drawn(2, 5, seed=1), drawn(7, 2, seed=2), 0.5)
    return model


def _weights(answer):
    model = _merged(answer)
    return {
        "for r = 2 and a scaling of 0.5, the head's weight": model.head.weight,
        "the embedding is what it was": torch.equal(model.embedding.weight, drawn(7, 5)),
    }


def _said(answer):
    return {"model.config.tie_word_embeddings is False": _merged(answer).config.tie_word_embeddings is False}


def _kept_frozen(answer):
    weight = _merged(answer).head.weight
    return {"the head's weight is a Parameter, frozen": isinstance(weight, nn.Parameter) and not weight.requires_grad}


def _half(answer):
    """In fp16, so that a sum rounded in another order shows."""
    return {"for a model in float16, the head's weight": _merged(answer, torch.float16).head.weight}


def _merging(value=lambda W0, update: W0.float() + update, untie=True, tell=True, frozen=True, dtype=None):
    """A right answer whose decisions can be changed one at a time."""

    @torch.no_grad()
    def answer(model, A, B, scaling):
        W0 = model.head.weight
        merged = value(W0, scaling * B @ A).to(dtype or W0.dtype)
        if untie:
            model.head.weight = nn.Parameter(merged, requires_grad=not frozen)
        else:
            W0.copy_(merged)
        if tell:
            model.config.tie_word_embeddings = False

    return answer


def _other_end(model, A, B, scaling):
    model.embedding.weight = nn.Parameter(model.embedding.weight + scaling * B @ A, requires_grad=False)


MERGE_HEAD = Exercise(
    name="merge_head",
    task="LoRA's update merged into a head that shares its weight with the embedding.",
    stub='''\
import torch
from torch import nn


def merge_head(model, A, B, scaling):
    """Make model.head, an nn.Linear, multiply by W0 + scaling B A, and leave
    model.embedding as it is.

    Both hold one frozen tensor of shape (vocabulary, width), in fp32 or fp16.
    A: (r, width) and B: (vocabulary, r), in fp32. Form the sum in fp32 and round once.
    The head stays frozen and keeps its dtype. Nothing is returned.
    Set model.config.tie_word_embeddings to False, or a reload would tie them again.
    """
    raise NotImplementedError
''',
    hint="Writing into model.head.weight writes into model.embedding.weight: they are one tensor. Give the head a "
    "Parameter of its own, and think of what a reload would do.",
    solution="""\
import torch
from torch import nn


@torch.no_grad()
def merge_head(model, A, B, scaling):
    W0 = model.head.weight
    merged = (W0.float() + scaling * B @ A).to(W0.dtype)
    model.head.weight = nn.Parameter(merged, requires_grad=False)
    model.config.tie_word_embeddings = False
""",
    praise="two tensors where there was one, and the configuration says so, or a reload would tie them again.",
    reference=_merging(),
    probes=(_weights, _said, _kept_frozen, _half),
    mistakes=(
        Mistake(
            "the embedding moved with the head: both are one tensor. Untie them before you merge.",
            (_merging(untie=False), _merging(untie=False, tell=False)),
        ),
        Mistake("you merged into the embedding. It is the head that was adapted.", (_other_end,)),
        Mistake(
            "the head is as it was. A new weight must be put into model.head.", (_merging(value=lambda W0, update: W0),)
        ),
        Mistake("you left the scaling out.", (_merging(value=lambda W0, update: W0.float() + update / 0.5),)),
        Mistake(
            "you subtracted the update. Merging adds it.", (_merging(value=lambda W0, update: W0.float() - update),)
        ),
        Mistake("you wrote the update alone. It is added to W0.", (_merging(value=lambda W0, update: update),)),
        Mistake(
            "model.config.tie_word_embeddings is still True: whoever saves and reloads this model ties its ends again.",
            (_merging(tell=False),),
        ),
        Mistake(
            "your head is trainable now. nn.Parameter asks for a gradient unless it is told requires_grad=False.",
            (_merging(frozen=False),),
        ),
        Mistake(
            "your head is in float32 now. The rest of the model is in float16, and the two do not multiply.",
            (_merging(dtype=torch.float32),),
        ),
        Mistake(
            "you rounded the update before adding it. Form the sum in fp32 and round once.",
            (_merging(value=lambda W0, update: W0 + update.to(W0.dtype)),),
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
    B (outputs, r), zero at the start. A and B get gradients, the base's parameters get
    none, and the layers before this one get theirs."""

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


EXERCISES = (LORA_UPDATE, MERGE_HEAD, FROZEN_BASE)
