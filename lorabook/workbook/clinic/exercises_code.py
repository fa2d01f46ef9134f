"""Exercises: two functions with a bug in them, LoRA's update and a transform with its own backward."""

import math

import torch

from lorabook.workbook.kit.engine import Exercise, Mistake, cases, drawn

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
    """What LoRA adds to a layer's output, so that the same directions twice, with r doubled, add the same.

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
        Mistake(
            "you divided by r twice.",
            (_update(lambda alpha, A: alpha / len(A) ** 2),),
        ),
        Mistake(
            "your scaling is 2 whatever α and r are. That is right for α = 2r alone.",
            (_update(lambda alpha, A: 2),),
        ),
    ),
)

# transform


def _hadamard(n):
    H = torch.ones(1, 1, dtype=torch.float64)
    while len(H) < n:
        H = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64), H)
    return H


def _x(shape):
    return drawn(*shape, dtype=torch.float64).requires_grad_()


def _forward(*shapes):
    return lambda answer: {f"for x of shape {shape}": answer(_x(shape)) for shape in shapes}


def _backward(*shapes):
    """The gradient for x of the sum of y times fixed numbers."""

    def probe(answer):
        seen = {}
        for shape in shapes:
            x, weights = _x(shape), drawn(*shape, seed=1, dtype=torch.float64)
            y = answer(x)
            what = f"for x of shape {shape}, the gradient for x"
            seen[what] = torch.autograd.grad((y * weights).sum(), x)[0] if y.requires_grad else "none: y has no history"
        return seen

    return probe


def _transform(back, forward=lambda y, n: y):
    """A transform whose backward pass is `back(grad, n)`; `forward` may change its value y too."""

    class Transform(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return forward(x @ _hadamard(x.shape[-1]), x.shape[-1])

        @staticmethod
        def backward(ctx, grad):
            return back(grad, grad.shape[-1])

    return Transform.apply


TRANSFORM = Exercise(
    name="transform",
    task="A Hadamard transform with a backward pass of its own.",
    stub='''\
import torch

from lorabook.subspace.fastfood import fwht


class Transform(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return fwht(x)

    @staticmethod
    def backward(ctx, grad):
        raise NotImplementedError


def transform(x):
    """y = H x on the last axis, (..., n) float64, with the gradient of just that. Mend `backward`, leave `forward`."""
    return Transform.apply(x)
''',
    hint="For y = H x the gradient for x is Hᵀ times that for y. What is Hᵀ here, and is anything divided?",
    solution="""\
import torch

from lorabook.subspace.fastfood import fwht


class Transform(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return fwht(x)

    @staticmethod
    def backward(ctx, grad):
        return fwht(grad)


def transform(x):
    return Transform.apply(x)
""",
    praise="the transpose of what the forward pass does, no more: gradcheck would pass too.",
    reference=lambda x: x @ _hadamard(x.shape[-1]),
    probes=(_forward((8,), (3, 4)), _backward((8,), (3, 4), (2, 3, 16))),
    mistakes=(
        Mistake(
            "your backward pass still divides by √n, and the forward pass does not.",
            (_transform(lambda grad, n: grad @ _hadamard(n) / n**0.5),),
        ),
        Mistake(
            "you divided by n. That is the inverse of H; a backward pass is the transpose.",
            (_transform(lambda grad, n: grad @ _hadamard(n) / n),),
        ),
        Mistake(
            "you multiplied by √n in place of dividing. Nothing is scaled.",
            (_transform(lambda grad, n: grad @ _hadamard(n) * n**0.5),),
        ),
        Mistake(
            "you scaled the forward pass. Asked is H x, as it was: the backward pass has to follow it.",
            (
                _transform(lambda grad, n: grad @ _hadamard(n) / n**0.5, lambda y, n: y / n**0.5),
                _transform(lambda grad, n: grad @ _hadamard(n) / n, lambda y, n: y / n),
            ),
        ),
        Mistake(
            "your backward pass hands the gradient on as it is. It has to pass H too.",
            (_transform(lambda grad, n: grad),),
        ),
        Mistake(
            "your backward pass gives no gradient. Return one tensor, of x's shape.",
            (_transform(lambda grad, n: None),),
        ),
        Mistake(
            "your y has no history, so no gradient reaches x at all.",
            (lambda x: x.detach() @ _hadamard(x.shape[-1]),),
        ),
        Mistake("your gradient has the wrong sign.", (_transform(lambda grad, n: -grad @ _hadamard(n)),)),
    ),
)

EXERCISES = (LORA_UPDATE, TRANSFORM)
