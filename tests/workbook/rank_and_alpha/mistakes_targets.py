"""Wrong answers to the exercises on scaling and targets, as people write them."""

import math

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# same_scaling

for label, fragment, formula in (
    ("alpha left", "you left α", lambda a, r, n, rs: a),
    ("alpha squared", "you squared", lambda a, r, n, rs: a * a),
    ("ratio squared", "you squared", lambda a, r, n, rs: a * n * n / (r * r)),
    ("rslora as plain", "rslora as α/r", lambda a, r, n, rs: a / r * n),
    ("root always", "without rslora too", lambda a, r, n, rs: a / math.sqrt(r) * math.sqrt(n)),
    ("swapped", "swapped the two", lambda a, r, n, rs: a * n / r if rs else a * (n / r) ** 0.5),
    ("turned round", "the ratio round", lambda a, r, n, rs: a * math.sqrt(r / n) if rs else a * r / n),
    ("doubled", "doubled α whatever", lambda a, r, n, rs: a + a),
    ("doubled, or times the root of two", "doubled α whatever", lambda a, r, n, rs: a * (2**0.5 if rs else 2)),
    ("twice the rank", "rule of thumb", lambda a, r, n, rs: n * 2),
    ("scaling", "you gave the scaling", lambda a, r, n, rs: a / (r**0.5 if rs else r)),
    ("scaling of the new rank", "you gave the scaling", lambda a, r, n, rs: a / (n**0.5 if rs else n)),
    ("difference", "what the rank grew by", lambda a, r, n, rs: a + (n - r)),
    ("rounded", "you rounded", lambda a, r, n, rs: round(a * (math.sqrt(n / r) if rs else n / r))),
    ("whole division", "you rounded", lambda a, r, n, rs: a * math.sqrt(n / r) if rs else a * n // r),
    ("root over alpha", "root covers α", lambda a, r, n, rs: (a * n / r) ** 0.5 if rs else a * n / r),
):
    bank.add("same_scaling", label, fragment, formula)

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
