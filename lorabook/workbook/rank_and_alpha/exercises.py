"""The exercises of notebook 03: the rank that a budget pays for, and the scaling when r changes."""

import math

from lorabook.memory.families import shape_of
from lorabook.workbook.kit.exercise import Exercise, Mistake, cases

STARCODER, POCKET = shape_of("bigcode/starcoderbase-1b"), shape_of("pocket")

# largest_rank


def _kinds(shape):
    return [(m.d, m.k) for m in shape.linears], shape.layers


BUDGETS = (
    (*_kinds(STARCODER), 11_108_352),  # r = 16, and nothing is left
    (*_kinds(STARCODER), 12_300_000),
    (*_kinds(POCKET), 60_000),
    (*_kinds(POCKET), 9_000),  # does not pay for r = 1
    ([(1024, 256)], 4, 100_000),
)


def _rank(divide=lambda budget, cost: budget // cost, cost=lambda d, k: d + k, blocks=None, least=0):
    """A right answer whose decisions can be changed one at a time."""

    def answer(shapes, in_model, budget):
        per_rank = (blocks or in_model) * sum(cost(d, k) for d, k in shapes)
        return max(least, divide(budget, per_rank))

    return answer


def _shared(shapes, blocks, budget):
    """An equal share of the budget for each matrix of a block."""
    return min(budget // len(shapes) // (blocks * (d + k)) for d, k in shapes)


LARGEST_RANK = Exercise(
    name="largest_rank",
    task="The highest rank that a budget of trained parameters pays for.",
    stub='''\
def largest_rank(shapes, blocks, budget):
    """The largest r at which LoRA on these matrices trains at most `budget` parameters;
    0 if even r = 1 is too much.

    shapes: (d, k) of each matrix in a block, such as [(2304, 2048), (2048, 2048)].
    blocks: how many such blocks the model has.
    """
    raise NotImplementedError
''',
    hint="Each 1 of rank costs d + k for every matrix, in every block. Add that up, and divide the budget by it.",
    solution="""\
def largest_rank(shapes, blocks, budget):
    per_rank = blocks * sum(d + k for d, k in shapes)
    return budget // per_rank
""",
    praise="with 60,000 parameters, that's r = 4 on all linear layers of the pocket model.",
    reference=_rank(),
    probes=(
        cases(
            lambda shapes, blocks, budget: f"for {shapes} in each of {blocks} blocks and a budget of {budget:,}",
            *BUDGETS,
        ),
    ),
    mistakes=(
        Mistake("you counted one block. Every block has matrices of these shapes.", (_rank(blocks=1),)),
        Mistake(
            "you counted one factor. Each 1 of rank costs k numbers in A and d in B.",
            (_rank(cost=lambda d, k: d), _rank(cost=lambda d, k: k)),
        ),
        Mistake(
            "you took the matrices for square: A and B hold r (d + k) numbers, not 2·r·d.",
            (_rank(cost=lambda d, k: 2 * d), _rank(cost=lambda d, k: 2 * k)),
        ),
        Mistake(
            "you paid for dense matrices. LoRA of rank r trains r (d + k) numbers, not d·k.",
            (_rank(cost=lambda d, k: d * k),),
        ),
        Mistake(
            "you rounded up or to the nearest rank, which goes over the budget: round down.",
            (
                _rank(lambda budget, cost: math.ceil(budget / cost)),
                _rank(lambda budget, cost: round(budget / cost)),
                _rank(lambda budget, cost: budget // cost + 1),
            ),
        ),
        Mistake(
            "you gave a fraction. Ranks are whole numbers: round down.", (_rank(lambda budget, cost: budget / cost),)
        ),
        Mistake(
            "r = 1 costs too much, too, if the budget doesn't pay for it. Then the answer is 0.", (_rank(least=1),)
        ),
        Mistake(
            "you took a power of two. Any whole rank will do.",
            (_rank(lambda budget, cost: 1 << (budget // cost).bit_length() - 1 if budget >= cost else 0),),
        ),
        Mistake(
            "you stayed below the budget. It may be spent to the last number.",
            (_rank(lambda budget, cost: (budget - 1) // cost),),
        ),
        Mistake(
            "you gave each matrix an equal share. With one r for all, wide matrices cost more: add up the costs.",
            (_shared,),
        ),
        Mistake(
            "you took the budget for bytes. It is a number of parameters.",
            tuple(_rank(lambda budget, cost, n=n: budget // n // cost) for n in (2, 4)),
        ),
    ),
)

# same_effect


def _alpha(plain=lambda ratio: 1, root=lambda ratio: 1 / math.sqrt(ratio)):
    """An answer that multiplies alpha by a function of new_r / r, one for alpha / r and one for rslora."""
    return lambda alpha, r, new_r, rslora: alpha * (root if rslora else plain)(new_r / r)


def _whatever(value):
    """An answer that takes no notice of rslora: a function of alpha, r and new_r."""
    return lambda alpha, r, new_r, rslora: value(alpha, r, new_r)


SAME_EFFECT = Exercise(
    name="same_effect",
    task="The alpha at which the first step has the same effect at another rank.",
    stub='''\
def same_effect(alpha, r, new_r, rslora):
    """The alpha at which the first step at rank new_r has the same effect as at rank r
    with `alpha`.

    rslora: whether the scaling is rsLoRA's, alpha / sqrt(r), or LoRA's own, alpha / r.
    """
    raise NotImplementedError
''',
    hint="Write down rank times scaling for both ranks, set the two equal, and solve for the new alpha: once for "
    "alpha / r, once for alpha / √r.",
    solution="""\
import math


def same_effect(alpha, r, new_r, rslora):
    return alpha * math.sqrt(r / new_r) if rslora else alpha
""",
    praise="under α/r, α stays as it is: that is the point of dividing by r.",
    reference=_alpha(),
    probes=(
        cases(
            lambda alpha, r, new_r, rslora: (
                f"for α = {alpha}, r = {r} and new_r = {new_r} {'with' if rslora else 'without'} rslora"
            ),
            (8, 16, 32, False),
            (8, 16, 32, True),
            (3, 4, 10, False),
            (3, 4, 10, True),
            (32, 64, 4, False),
            (32, 64, 4, True),
        ),
    ),
    mistakes=(
        Mistake(
            "you kept the scaling. Then a larger rank does more in its first step: its effect is r times the scaling.",
            (_alpha(lambda q: q, math.sqrt), _alpha(lambda q: q, lambda q: q)),
        ),
        Mistake(
            "you left α alone under rsLoRA too. There the effect is √r times α, so α must shrink as r grows.",
            (_alpha(root=lambda q: 1),),
        ),
        Mistake(
            "you turned the ratio round. Under rsLoRA a larger rank takes a smaller α.",
            (_alpha(root=math.sqrt),),
        ),
        Mistake(
            "you took the root without rslora too. LoRA's own scaling is α/r, and r · α/r is α.",
            (_alpha(plain=lambda q: 1 / math.sqrt(q)), _alpha(plain=math.sqrt), _alpha(math.sqrt, math.sqrt)),
        ),
        Mistake(
            "you divided by the whole ratio. Under rsLoRA the effect is √r times α: the ratio's root is enough.",
            (_alpha(root=lambda q: 1 / q), _alpha(lambda q: 1 / q, lambda q: 1 / q)),
        ),
        Mistake(
            "you divided where the scaling is α/r as well. There r cancels, and α stays.",
            (_alpha(lambda q: 1 / q, lambda q: 1 / math.sqrt(q)),),
        ),
        Mistake(
            "you set α by a rule of thumb, such as 2r. That keeps the scaling whatever the rank, not the effect.",
            (
                _whatever(lambda alpha, r, new_r: 2 * new_r),
                _whatever(lambda alpha, r, new_r: new_r),
            ),
        ),
        Mistake(
            "you gave the scaling. The α that leads to it at the new rank is asked for.",
            (
                lambda alpha, r, new_r, rslora: alpha / (math.sqrt(r) if rslora else r),
                lambda alpha, r, new_r, rslora: alpha / (math.sqrt(new_r) if rslora else new_r),
                _whatever(lambda alpha, r, new_r: alpha / r),
                _whatever(lambda alpha, r, new_r: alpha / new_r),
            ),
        ),
        Mistake(
            "you rounded. α may be any positive number.",
            (
                lambda alpha, r, new_r, rslora: round(alpha * math.sqrt(r / new_r)) if rslora else alpha,
                lambda alpha, r, new_r, rslora: int(alpha * math.sqrt(r / new_r)) if rslora else alpha,
            ),
        ),
        Mistake(
            "your root covers α too: √(α·r/new_r). It belongs to the ratio alone.",
            (lambda alpha, r, new_r, rslora: math.sqrt(alpha * r / new_r) if rslora else alpha,),
        ),
    ),
)


EXERCISES = (LARGEST_RANK, SAME_EFFECT)
