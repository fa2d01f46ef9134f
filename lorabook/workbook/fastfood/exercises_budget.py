"""Exercises: padding that refuses what it cannot hold, and what SAID trains out of its budget."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lorabook.workbook.kit.engine import Exercise, Mistake, attempt, cases, drawn

# pad_theta


def _pad(theta, L):
    if len(theta) > L:
        raise ValueError(f"theta has {len(theta)} numbers, and at most L = {L} have a place.")
    return F.pad(theta, (0, L - len(theta)))


def _too_long(otherwise):
    """Right where theta is short enough; where it is too long, `otherwise(theta, L)`."""
    return lambda theta, L: _pad(theta, L) if len(theta) <= L else otherwise(theta, L)


def _asserts(theta, L):
    assert len(theta) <= L
    return _pad(theta, L)


def _refuses_equal(theta, L):
    return _pad(theta, L if len(theta) < L else 0)


def _refused(answer):
    """What happens to 12 numbers where 8 have a place."""
    try:
        outcome = answer(drawn(12, seed=2), 8)
    except ValueError:
        outcome = "a ValueError"
    except Exception:
        outcome = attempt(answer, drawn(12, seed=2), 8)
    return {"for theta of 12 numbers and L = 8": outcome}


def _fold(theta, L):
    return F.pad(theta, (0, -len(theta) % L)).view(-1, L).sum(0)


PAD_THETA = Exercise(
    name="pad_theta",
    task="Padding that refuses what it cannot hold.",
    stub='''\
import torch.nn.functional as F


def pad_theta(theta, L):
    """theta (d,) with zeros behind it, as a vector of L numbers.

    If d > L there is no place for all of theta. What should happen then? F.pad with a negative amount crops.
    """
    raise NotImplementedError
''',
    hint="Nobody must be able to train numbers that do nothing: raise a ValueError that names d and L. d = L is fine.",
    solution="""\
import torch.nn.functional as F


def pad_theta(theta, L):
    if len(theta) > L:
        raise ValueError(f"theta has {len(theta)} numbers, and at most L = {L} have a place.")
    return F.pad(theta, (0, L - len(theta)))
""",
    praise="what does not fit is refused, by name and number.",
    reference=_pad,
    probes=(
        cases(
            lambda theta, L: f"for theta of {len(theta)} numbers and L = {L}",
            (drawn(5), 16),
            (drawn(8, seed=1), 8),
        ),
        _refused,
    ),
    mistakes=(
        Mistake(
            "you cropped in silence: d - L numbers would be trained and saved without any effect. Refuse them.",
            (_too_long(lambda theta, L: theta[:L]),),
        ),
        Mistake("you let a vector longer than L through.", (_too_long(lambda theta, L: theta),)),
        Mistake(
            "you give None where theta is too long, and the error comes later. Raise one here.",
            (_too_long(lambda theta, L: None),),
        ),
        Mistake(
            "you folded the rest back onto the first L. Then d numbers span L dimensions, and d is not what it says.",
            (_too_long(_fold),),
        ),
        Mistake("an assert is gone under `python -O`. Raise a ValueError.", (_asserts,)),
        Mistake("you refused d = L, where every number has its place.", (_refuses_equal,)),
        Mistake(
            "your zeros stand in front. They come behind theta.",
            (lambda theta, L: F.pad(theta, (L - len(theta), 0)),),
        ),
        Mistake(
            "you padded to the next power of two above d. L is the one above D, and is given.",
            (lambda theta, L: F.pad(theta, (0, (1 << (len(theta) - 1).bit_length()) - len(theta))),),
        ),
        Mistake(
            "you repeated theta. What is padded is zero.",
            (lambda theta, L: theta.repeat(-(-L // len(theta)))[:L],),
        ),
    ),
)

# said_start


def _said(theta=lambda m, d: torch.zeros(d - m), lambdas=torch.ones, m=len):
    """An answer from what theta is made of, given m and d, what lambdas are made of, given m, and how m is counted."""
    return lambda shapes, d: (theta(m(shapes), d), lambdas(m(shapes)))


def _elements(shapes):
    return sum(math.prod(shape) for shape in shapes)


def _matrices(shapes):
    return sum(len(shape) > 1 for shape in shapes)


def _swapped(shapes, d) -> tuple[Tensor, Tensor]:
    return torch.ones(len(shapes)), torch.zeros(d - len(shapes))


SAID_START = Exercise(
    name="said_start",
    task="What SAID trains, as it starts.",
    stub='''\
import torch


def said_start(shapes, d):
    """What SAID trains, as it starts: (theta, lambdas), two vectors with d numbers between them.

    theta_i^D = theta0_i + lambda_i (P theta)_i for each of the model's parameter tensors i.
    shapes: the shape of every parameter tensor, such as [(24, 64), (24,)]. d: the whole budget.
    """
    raise NotImplementedError
''',
    hint="Each tensor has one scale. At the start the model must be theta0, and yet a gradient must reach something.",
    solution="""\
import torch


def said_start(shapes, d):
    m = len(shapes)
    return torch.zeros(d - m), torch.ones(m)
""",
    praise="d - m numbers in theta and m scales: the scales are paid for out of d.",
    reference=_said(),
    probes=(
        cases(
            lambda shapes, d: f"for tensors of the shapes {shapes} and d = {d}",
            ([(24, 64), (24,), (10, 24), (10,)], 6000),
            ([(5, 4), (5,), (3,)], 60),
        ),
    ),
    mistakes=(
        Mistake(
            "you spent d on theta and m on the scales: d + m in all. The scales come out of d.",
            (_said(lambda m, d: torch.zeros(d)),),
        ),
        Mistake(
            "your scales start at 0, as theta does. Each multiplies the other, so no gradient reaches either.",
            (_said(lambdas=torch.zeros),),
        ),
        Mistake("you took m off twice. theta has d - m numbers.", (_said(lambda m, d: torch.zeros(d - 2 * m)),)),
        Mistake(
            "one number is left over: d - m, not d - m - 1, as in some public code.",
            (_said(lambda m, d: torch.zeros(d - m - 1)),),
        ),
        Mistake("you gave one scale to the whole model. Every tensor has its own.", (_said(m=lambda shapes: 1),)),
        Mistake("you gave a scale to every parameter. A tensor has one, whatever its size.", (_said(m=_elements),)),
        Mistake(
            "you counted matrices alone. Biases are tensors too, and each has a scale.",
            (_said(m=_matrices),),
        ),
        Mistake(
            "your theta starts at 1. Then the model is not theta0 at the start.",
            (_said(lambda m, d: torch.ones(d - m)),),
        ),
        Mistake("theta comes first, then the scales.", (_swapped,)),
    ),
)

EXERCISES = (PAD_THETA, SAID_START)
