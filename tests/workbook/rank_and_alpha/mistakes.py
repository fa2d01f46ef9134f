"""Wrong answers to the exercises of notebook 03, as people write them."""

import math

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# largest_rank


@wrong("largest_rank", "counted one block")
def one_block(shapes, blocks, budget):
    return budget // sum(d + k for d, k in shapes)


@wrong("largest_rank", "one factor")
def a_alone(shapes, blocks, budget):
    per_rank = 0
    for _, k in shapes:
        per_rank += k * blocks
    return budget // per_rank


@wrong("largest_rank", "for square")
def twice_d(shapes, blocks, budget):
    return int(budget / (blocks * sum(2 * d for d, _ in shapes)))


@wrong("largest_rank", "dense matrices")
def dense(shapes, blocks, budget):
    return budget // (blocks * sum(math.prod(shape) for shape in shapes))


@wrong("largest_rank", "rounded up")
def rounded_up(shapes, blocks, budget):
    return math.ceil(budget / blocks / sum(map(sum, shapes)))


@wrong("largest_rank", "rounded up")
def the_first_that_is_too_much(shapes, blocks, budget):
    r = 0
    while r * blocks * sum(map(sum, shapes)) <= budget:
        r += 1
    return r


@wrong("largest_rank", "you gave a fraction")
def not_rounded(shapes, blocks, budget):
    return budget / (blocks * sum(map(sum, shapes)))


@wrong("largest_rank", "the answer is 0")
def at_least_rank_1(shapes, blocks, budget):
    r = 1
    while (r + 1) * blocks * sum(map(sum, shapes)) <= budget:
        r += 1
    return r


@wrong("largest_rank", "a power of two")
def power_of_two(shapes, blocks, budget):
    per_rank = blocks * sum(map(sum, shapes))
    return max([r for r in (1, 2, 4, 8, 16, 32, 64) if r * per_rank <= budget], default=0)


@wrong("largest_rank", "below the budget")
def strictly_below(shapes, blocks, budget):
    per_rank, r = blocks * sum(map(sum, shapes)), 0
    while (r + 1) * per_rank < budget:
        r += 1
    return r


@wrong("largest_rank", "an equal share")
def equal_shares(shapes, blocks, budget):
    share = budget // (blocks * len(shapes))
    return min(share // (d + k) for d, k in shapes)


@wrong("largest_rank", "for bytes")
def budget_in_bytes(shapes, blocks, budget):
    return budget // (4 * blocks * sum(map(sum, shapes)))


# same_effect

for label, fragment, formula in (
    ("scaling kept", "you kept the scaling", lambda a, r, n, rs: a * math.sqrt(n) / math.sqrt(r) if rs else a * n / r),
    ("in proportion", "you kept the scaling", lambda a, r, n, rs: a / r * n),
    ("alpha left", "you left α alone under rsLoRA", lambda a, r, n, rs: a),
    ("turned round", "the ratio round", lambda a, r, n, rs: a * (n / r) ** 0.5 if rs else a),
    ("root always", "without rslora too", lambda a, r, n, rs: a * math.sqrt(r) / math.sqrt(n)),
    ("root of the turned ratio", "without rslora too", lambda a, r, n, rs: a * math.sqrt(n / r)),
    ("whole ratio", "by the whole ratio", lambda a, r, n, rs: a * r / n if rs else a),
    ("whole ratio always", "by the whole ratio", lambda a, r, n, rs: a * r / n),
    ("both divided", "where the scaling is α/r as well", lambda a, r, n, rs: a * (r / n) ** (0.5 if rs else 1)),
    ("twice the rank", "rule of thumb", lambda a, r, n, rs: n * 2),
    ("scaling", "you gave the scaling", lambda a, r, n, rs: a / (r**0.5 if rs else r)),
    ("scaling of the new rank", "you gave the scaling", lambda a, r, n, rs: a / (n**0.5 if rs else n)),
    ("rounded", "you rounded", lambda a, r, n, rs: round(a * math.sqrt(r / n)) if rs else a),
    ("whole number", "you rounded", lambda a, r, n, rs: int(a * (r / n) ** 0.5) if rs else a),
    ("root over alpha", "root covers α", lambda a, r, n, rs: (a * r / n) ** 0.5 if rs else a),
):
    bank.add("same_effect", label, fragment, formula)
