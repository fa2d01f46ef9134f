"""The exercises of notebook 03: a budget of parameters, and the scaling when r changes."""

import math
from functools import partial

from lorabook.memory.families import shape_of
from lorabook.workbook.kit.exercise import Exercise, Mistake, attempt, cases

STARCODER, POCKET = shape_of("bigcode/starcoderbase-1b"), shape_of("pocket")

# spread_budget


def _kinds(shape):
    return {m.name: (m.d, m.k) for m in shape.linears}, shape.layers


BUDGETS = (
    (*_kinds(STARCODER), 11_108_352),  # r = 16 on all four kinds, and nothing is left
    (*_kinds(STARCODER), 12_300_000),
    (*_kinds(POCKET), 9_000),  # does not pay for all four
    (*_kinds(POCKET), 5_000_000),  # pays for r = 342, where attn.c_proj breaks even at 128
)


def _choices(answer):
    """What is chosen for every budget, the targets in alphabetical order."""

    def choose(*case):
        chosen = attempt(answer, *case)
        if isinstance(chosen, (tuple, list)) and len(chosen) == 2 and isinstance(chosen[0], (tuple, list, set)):
            return sorted(map(str, chosen[0])), chosen[1]
        return chosen

    return {
        f"for {list(shapes.values())} in each of {blocks} blocks and a budget of {budget:,}": choose(
            shapes, blocks, budget
        )
        for shapes, blocks, budget in BUDGETS
    }


def _cost(d, k):
    return d + k


def _break_even(d, k):
    return d * k // (d + k)


def _affordable(shapes, price, budget, sign=1):
    """As many names as `budget` pays for, the cheapest first; with sign -1 the dearest."""
    names, spent = [], 0
    for name in sorted(shapes, key=lambda name: sign * price(*shapes[name])):
        if spent + price(*shapes[name]) <= budget:
            names.append(name)
            spent += price(*shapes[name])
    return names


def _spread(choose=_affordable, cost=_cost, divide=lambda budget, cost: budget // cost, cap=_break_even, **changes):
    """A right answer whose decisions can be changed one at a time."""
    of, least, counted = changes.get("of", min), changes.get("least", 0), changes.get("blocks")

    def answer(shapes, blocks, budget):
        def price(d, k):
            return cost(d, k) * (counted or blocks)

        names = choose(shapes, price, budget)
        r = divide(budget, sum(price(*shapes[name]) for name in names))
        return names, max(least, min(r, of(cap(*shapes[name]) for name in names)))

    return answer


def _no_cap(d, k):
    return math.inf


def _one(which):
    """A choice of one kind of matrix alone."""
    return lambda shapes, price, budget: [which(shapes, key=lambda name: price(*shapes[name]))]


def _first(names, key):
    return next(iter(names))


def _all(shapes, price, budget):
    return list(shapes)


def _even_shares(shapes, blocks, budget):
    names = _affordable(shapes, lambda d, k: blocks * (d + k), budget)
    share = budget // len(names)
    return names, min(min(share // (blocks * sum(shapes[n])), _break_even(*shapes[n])) for n in names)


SPREAD_BUDGET = Exercise(
    name="spread_budget",
    task="The targets and the rank for a budget of trained parameters.",
    stub='''\
def spread_budget(shapes, blocks, budget):
    """(targets, r) of LoRA with at most `budget` parameters.

    First take as many kinds of matrices as the budget can pay for at r = 1, starting
    with the cheapest. Then raise r, the same for all, as far as the budget allows, and
    as long as no A and B together are larger than their matrix.

    shapes: (d, k) of every kind, such as {"attn.c_attn": (2304, 2048)}. Each block of
    the model has one of each kind.
    targets: a list of kinds, in any order.
    """
    raise NotImplementedError
''',
    hint="Each 1 of rank costs d + k in every block. Add up that cost kind by kind, divide the budget by it, and look "
    "at every target's break-even rank, d·k / (d + k).",
    solution="""\
def spread_budget(shapes, blocks, budget):
    targets, cost = [], 0  # cost: parameters trained at r = 1
    for name, (d, k) in sorted(shapes.items(), key=lambda item: sum(item[1])):
        if cost + blocks * (d + k) <= budget:
            targets.append(name)
            cost += blocks * (d + k)
    break_even = min(d * k // (d + k) for d, k in (shapes[name] for name in targets))
    return targets, min(budget // cost, break_even)
""",
    praise="breadth before rank, as in the paper's Table 5, and never past break-even.",
    reference=_spread(),
    probes=(_choices,),
    mistakes=(
        Mistake(
            "you put all rank on one kind of matrix. In the paper's Table 5 a small rank on all did better.",
            tuple(_spread(_one(which), cap=cap) for which in (min, max, _first) for cap in (_break_even, _no_cap)),
        ),
        Mistake(
            "you went past break-even: beyond d·k / (d + k), A and B hold more numbers than the matrix itself.",
            (_spread(cap=_no_cap),),
        ),
        Mistake(
            "you stopped at min(d, k), the largest rank there is. Break-even comes far earlier, at d·k / (d + k).",
            (_spread(cap=min),),
        ),
        Mistake(
            "you took the largest of the break-even ranks. All share one r, so the smallest decides.",
            (_spread(of=max),),
        ),
        Mistake("you counted one block. Every block has a matrix of each kind.", (_spread(blocks=1),)),
        Mistake(
            "you counted one factor. Each 1 of rank costs k numbers in A and d in B.",
            (_spread(cost=lambda d, k: d), _spread(cost=lambda d, k: k)),
        ),
        Mistake(
            "you took the matrices for square: A and B hold r (d + k) numbers, not 2·r·d.",
            (_spread(cost=lambda d, k: 2 * d), _spread(cost=lambda d, k: 2 * k)),
        ),
        Mistake(
            "you paid for dense matrices. LoRA of rank r trains r (d + k) numbers, not d·k.",
            (_spread(_all, cost=lambda d, k: d * k), _spread(_all, cost=lambda d, k: d * k, least=1)),
        ),
        Mistake(
            "you rounded up or to the nearest rank, which goes over the budget: round down.",
            (
                _spread(divide=lambda budget, cost: math.ceil(budget / cost)),
                _spread(divide=lambda budget, cost: round(budget / cost)),
                _spread(divide=lambda budget, cost: budget // cost + 1),
            ),
        ),
        Mistake(
            "you gave a fraction. Ranks are whole numbers: round down.",
            (_spread(divide=lambda budget, cost: budget / cost),),
        ),
        Mistake(
            "you took a power of two. Any whole rank will do.",
            (_spread(divide=lambda budget, cost: 1 << (budget // cost).bit_length() - 1),),
        ),
        Mistake(
            "you stayed below the budget. It may be spent to the last number.",
            (_spread(divide=lambda budget, cost: (budget - 1) // cost),),
        ),
        Mistake(
            "you kept kinds that the budget does not pay for. r = 0 trains nothing, and r = 1 on all costs too much.",
            (_spread(_all), _spread(_all, least=1)),
        ),
        Mistake("you took the dearest kinds first, so fewer of them fit.", (_spread(partial(_affordable, sign=-1)),)),
        Mistake(
            "you gave each kind an equal share. With one r for all, wide matrices cost more: add up the costs.",
            (_even_shares,),
        ),
        Mistake(
            "you took the budget for bytes. It is a number of parameters.",
            tuple(lambda s, b, budget, n=n: _spread()(s, b, budget // n) for n in (2, 4)),
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

    The effect is proportional to the rank times the scaling.
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


EXERCISES = (SPREAD_BUDGET, SAME_EFFECT)
