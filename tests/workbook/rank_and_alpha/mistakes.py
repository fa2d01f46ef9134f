"""Wrong answers to the exercises of notebook 03, as people write them."""

import math

import torch

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


# adapter_bytes


def elements(shapes, r):
    return sum(torch.empty(r, k, device="meta").numel() + d * r for d, k in shapes)


@wrong("adapter_bytes", "you included the base")
def base_included(shapes, r, dtype, base_dtype):
    return base_dtype.itemsize * sum(d * k for d, k in shapes) + dtype.itemsize * elements(shapes, r)


@wrong("adapter_bytes", "the base's dtype")
def dtype_of_the_base(shapes, r, dtype, base_dtype):
    return elements(shapes, r) * torch.empty(0, dtype=base_dtype).element_size()


@wrong("adapter_bytes", "4 bytes whatever")
def always_fp32(shapes, r, dtype, base_dtype):
    return 4 * elements(shapes, r)


@wrong("adapter_bytes", "2 bytes whatever")
def always_fp16(shapes, r, dtype, base_dtype):
    return elements(shapes, r) * 2


@wrong("adapter_bytes", "what training keeps")
def moments_too(shapes, r, dtype, base_dtype):
    n = elements(shapes, r)
    return n * dtype.itemsize + 2 * n * 4


@wrong("adapter_bytes", "what training keeps")
def sixteen_bytes(shapes, r, dtype, base_dtype):
    return 16 * elements(shapes, r)


@wrong("adapter_bytes", "you counted numbers")
def numbers(shapes, r, dtype, base_dtype):
    return elements(shapes, r)


@wrong("adapter_bytes", "you counted bits")
def bits(shapes, r, dtype, base_dtype):
    return elements(shapes, r) * torch.finfo(dtype).bits


@wrong("adapter_bytes", "you stored BA")
def product_stored(shapes, r, dtype, base_dtype):
    return sum((torch.empty(d, r, device="meta") @ torch.empty(r, k, device="meta")).numel() for d, k in shapes) * (
        dtype.itemsize
    )


@wrong("adapter_bytes", "one factor")
def b_alone(shapes, r, dtype, base_dtype):
    return dtype.itemsize * r * sum(d for d, _ in shapes)


@wrong("adapter_bytes", "for square")
def square(shapes, r, dtype, base_dtype):
    return dtype.itemsize * sum(2 * r * k for _, k in shapes)


@wrong("adapter_bytes", "multiplied the sizes")
def sizes_multiplied(shapes, r, dtype, base_dtype):
    return sum((d * r) * (r * k) for d, k in shapes) * dtype.itemsize


@wrong("adapter_bytes", "one matrix")
def returns_in_the_loop(shapes, r, dtype, base_dtype):
    for d, k in shapes:
        return r * (d + k) * dtype.itemsize


@wrong("adapter_bytes", "one matrix")
def total_overwritten(shapes, r, dtype, base_dtype):
    for d, k in shapes:
        total = r * (d + k) * dtype.itemsize
    return total


@wrong("adapter_bytes", "a multiple of bytes")
def mebibytes(shapes, r, dtype, base_dtype):
    return elements(shapes, r) * dtype.itemsize / 1024 / 1024


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

# count_targets


def size(shapes, r):
    return sum(r * d + r * k for d, k in shapes)


def of_rule(rule, numbers=size):
    """An answer that collects the modules for which rule(name, target) holds."""

    def answer(modules, targets, r):
        shapes = [modules[name] for name in modules if any(rule(name, t) for t in targets)]
        return len(shapes), numbers(shapes, r)

    return answer


def suffix(name, target):
    return f".{name}".endswith(f".{target}")


@wrong("count_targets", "attention's c_proj alone")
def one_module_a_block(modules, targets, r):
    first = {}
    for name in modules:
        block = [part for part in name.split(".") if part.isdigit()][:1]
        for target in targets:
            if suffix(name, target):
                first.setdefault((target, *block), name)
    names = set(first.values())
    return len(names), size([modules[name] for name in names], r)


@wrong("count_targets", "one block")
def first_block(modules, targets, r):
    shapes = [s for n, s in modules.items() if any(suffix(n, t) for t in targets) and (".h." not in n or ".h.0." in n)]
    return len(shapes), size(shapes, r)


@wrong("count_targets", "counted a module twice")
def overlap_twice(modules, targets, r):
    shapes = [shape for target in targets for name, shape in modules.items() if suffix(name, target)]
    return len(shapes), size(shapes, r)


@wrong("count_targets", "you counted names")
def names_counted(modules, targets, r):
    return len(targets), of_rule(suffix)(modules, targets, r)[1]


@wrong("count_targets", "you counted names")
def first_hit_of_each(modules, targets, r):
    names = {next(name for name in modules if suffix(name, target)) for target in targets}
    return len(names), size([modules[name] for name in names], r)


@wrong("count_targets", "the first one's size")
def all_of_one_size(modules, targets, r):
    shapes = [shape for name, shape in modules.items() if any(suffix(name, t) for t in targets)]
    d, k = shapes[0]
    return len(shapes), len(shapes) * r * (d + k)


for label, fragment, rule in (
    ("attention alone", "attention's c_proj alone", lambda n, t: suffix(n, t) and not (t == "c_proj" and "mlp" in n)),
    ("substring", "that holds it", lambda n, t: n.find(t) >= 0),
    ("ends without a dot", "forgot the dot", lambda n, t: n[-len(t) :] == t),
    ("whole name", "whole names", lambda n, t: n == t),
    ("last part", "last parts alone", lambda n, t: n.split(".")[-1] == t),
    ("always a dot", "the top of the tree", lambda n, t: n.endswith(f".{t}")),
):
    bank.add("count_targets", label, fragment, of_rule(rule))

for label, fragment, numbers_of in (
    ("dense", "dense matrices", lambda shapes, r: sum(d * k for d, k in shapes)),
    ("a alone", "one factor", lambda shapes, r: r * sum(k for _, k in shapes)),
    ("square", "for square", lambda shapes, r: 2 * r * sum(d for d, _ in shapes)),
    ("rank forgotten", "left r out", lambda shapes, r: sum(map(sum, shapes))),
):
    bank.add("count_targets", label, fragment, of_rule(suffix, numbers_of))


@wrong("count_targets", "swapped the two")
def numbers_first(modules, targets, r):
    hits, trained = of_rule(suffix)(modules, targets, r)
    return trained, hits
