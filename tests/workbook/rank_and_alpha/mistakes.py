"""Wrong answers to the exercises of notebook 03, as people write them."""

import math

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# spread_budget


def cheapest(shapes, blocks, budget):
    """The names that fit the budget, and what they cost at r = 1."""
    targets, cost = [], 0
    for name in sorted(shapes, key=lambda name: shapes[name][0] + shapes[name][1]):
        more = blocks * (shapes[name][0] + shapes[name][1])
        if cost + more <= budget:
            targets, cost = [*targets, name], cost + more
    return targets, cost


def break_even(shapes, targets):
    return min(d * k // (d + k) for d, k in map(shapes.get, targets))


@wrong("spread_budget", "all rank on one kind")
def first_kind_alone(shapes, blocks, budget):
    name, (d, k) = next(iter(shapes.items()))
    return [name], min(budget // (blocks * (d + k)), d * k // (d + k))


@wrong("spread_budget", "all rank on one kind")
def widest_kind_alone_and_no_limit(shapes, blocks, budget):
    name = max(shapes, key=lambda n: sum(shapes[n]))
    return (name,), budget // blocks // sum(shapes[name])


@wrong("spread_budget", "past break-even")
def no_limit(shapes, blocks, budget):
    targets, cost = cheapest(shapes, blocks, budget)
    return targets, budget // cost


@wrong("spread_budget", "you stopped at min(d, k)")
def full_rank_as_the_limit(shapes, blocks, budget):
    targets, cost = cheapest(shapes, blocks, budget)
    return targets, min([budget // cost, *(side for t in targets for side in shapes[t])])


@wrong("spread_budget", "the largest of the break-even ranks")
def limit_of_the_largest(shapes, blocks, budget):
    targets, cost = cheapest(shapes, blocks, budget)
    return targets, min(budget // cost, max(break_even(shapes, [t]) for t in targets))


@wrong("spread_budget", "counted one block")
def one_block(shapes, blocks, budget):
    targets, cost = cheapest(shapes, 1, budget)
    return targets, min(budget // cost, break_even(shapes, targets))


@wrong("spread_budget", "one factor")
def a_alone(shapes, blocks, budget):
    targets, spent = [], 0
    for name, (_, k) in sorted(shapes.items(), key=lambda item: item[1][1]):
        if spent + k * blocks <= budget:
            targets.append(name)
            spent += k * blocks
    return targets, min(budget // spent, break_even(shapes, targets))


@wrong("spread_budget", "for square")
def twice_d(shapes, blocks, budget):
    targets, cost = [], 0
    for name, (d, _) in sorted(shapes.items(), key=lambda item: 2 * item[1][0]):
        if cost + 2 * d * blocks <= budget:
            targets.append(name)
            cost += 2 * d * blocks
    return targets, min(int(budget / cost), break_even(shapes, targets))


@wrong("spread_budget", "dense matrices")
def dense(shapes, blocks, budget):
    return list(shapes), budget // sum(blocks * d * k for d, k in shapes.values())


@wrong("spread_budget", "rounded up")
def rounded_up(shapes, blocks, budget):
    targets, cost = cheapest(shapes, blocks, budget)
    return targets, min(math.ceil(budget / cost), break_even(shapes, targets))


@wrong("spread_budget", "you gave a fraction")
def not_rounded(shapes, blocks, budget):
    targets, cost = cheapest(shapes, blocks, budget)
    return targets, min(budget / cost, break_even(shapes, targets))


@wrong("spread_budget", "a power of two")
def power_of_two(shapes, blocks, budget):
    targets, cost = cheapest(shapes, blocks, budget)
    r = 1
    while 2 * r * cost <= budget:
        r *= 2
    return targets, min(r, break_even(shapes, targets))


@wrong("spread_budget", "below the budget")
def strictly_below(shapes, blocks, budget):
    targets, cost = cheapest(shapes, blocks, budget)
    r = 1
    while (r + 1) * cost < budget and r < break_even(shapes, targets):
        r += 1
    return targets, r


@wrong("spread_budget", "does not pay for")
def all_kinds_always(shapes, blocks, budget):
    r = budget // (blocks * sum(d + k for d, k in shapes.values()))
    return [*shapes], min(r, break_even(shapes, shapes))


@wrong("spread_budget", "does not pay for")
def all_kinds_at_least_rank_1(shapes, blocks, budget):
    r = budget // (blocks * sum(d + k for d, k in shapes.values()))
    return [*shapes], max(1, min(r, break_even(shapes, shapes)))


@wrong("spread_budget", "the dearest kinds first")
def dearest_first(shapes, blocks, budget):
    targets, cost = [], 0
    for name, (d, k) in sorted(shapes.items(), key=lambda item: sum(item[1]), reverse=True):
        if cost + blocks * (d + k) <= budget:
            targets.append(name)
            cost += blocks * (d + k)
    return targets, min(budget // cost, break_even(shapes, targets))


@wrong("spread_budget", "an equal share")
def equal_shares(shapes, blocks, budget):
    targets, _ = cheapest(shapes, blocks, budget)
    share = budget // len(targets)
    ranks = [share // (blocks * (shapes[t][0] + shapes[t][1])) for t in targets]
    return targets, min(*ranks, break_even(shapes, targets))


@wrong("spread_budget", "for bytes")
def budget_in_bytes(shapes, blocks, budget):
    targets, cost = cheapest(shapes, 4 * blocks, budget)
    return targets, min(budget // cost, break_even(shapes, targets))


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
