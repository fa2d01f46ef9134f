"""The exercises of notebook 03: rank, targets, scaling and file size of an adapter."""

import math
import re
from functools import partial

import torch

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
    """(targets, r): LoRA with at most `budget` parameters, spread over many matrices
    before it goes into rank.

    shapes: (d, k) of every kind of matrix, such as {"attn.c_attn": (2304, 2048)}.
    Each block has one of each kind.
    targets: as many kinds as the budget pays for at r = 1, the cheapest first;
    a list in any order.
    r: the same for all targets, and as large as the budget allows. For no target may
    A and B together be larger than the matrix they update.
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

# adapter_bytes

ARTICLE = [(m.d, m.k) for m in STARCODER.matched(("c_attn", "c_proj", "c_fc", "wte", "wpe"))]


def _numbers(shapes, r):
    return sum(r * (d + k) for d, k in shapes)


def _dense(shapes):
    return sum(d * k for d, k in shapes)


def _counted(per_matrix):
    """An answer that counts other numbers for each matrix, a function of d, k and r."""
    return lambda shapes, r, dtype, base: sum(per_matrix(d, k, r) for d, k in shapes) * dtype.itemsize


def _each(size):
    """An answer whose numbers take another size, a function of the adapter's and the base's dtype."""
    return lambda shapes, r, dtype, base: _numbers(shapes, r) * size(dtype, base)


def _name(dtype):
    return str(dtype).removeprefix("torch.")


ADAPTER_BYTES = Exercise(
    name="adapter_bytes",
    task="The size of an adapter file.",
    stub='''\
def adapter_bytes(shapes, r, dtype, base_dtype):
    """Bytes of the tensors in adapter_model.safetensors. The file's header and the
    config are left out.

    shapes: (d, k) of every adapted matrix; for an embedding, (width, vocabulary).
    r: the rank.
    dtype: of A and B, such as torch.float32.
    base_dtype: of the base, such as torch.float16.
    """
    raise NotImplementedError
''',
    hint="What does a task add to a base that everyone has already? dtype.itemsize is the bytes of one number.",
    solution="""\
def adapter_bytes(shapes, r, dtype, base_dtype):
    return sum(r * (d + k) for d, k in shapes) * dtype.itemsize
""",
    praise="A and B and nothing else: the base is stored once, and the optimizer's state not at all.",
    reference=_each(lambda dtype, base: dtype.itemsize),
    probes=(
        cases(
            lambda shapes, r, dtype, base: (
                f"for {len(shapes)} matrices, r = {r}, A and B in {_name(dtype)} over a base in {_name(base)}"
            ),
            (ARTICLE, 16, torch.float32, torch.float16),
            ([(5, 3), (4, 4), (2, 9)], 2, torch.float16, torch.float32),
        ),
    ),
    mistakes=(
        Mistake(
            "you included the base. It is stored once, whatever the number of tasks; the file holds A and B alone.",
            (
                lambda shapes, r, dtype, base: _numbers(shapes, r) * dtype.itemsize + _dense(shapes) * base.itemsize,
                _counted(lambda d, k, r: d * k + r * (d + k)),
            ),
        ),
        Mistake(
            "you gave A and B the base's dtype. They have their own, fp32 over a base in fp16, too.",
            (_each(lambda dtype, base: base.itemsize),),
        ),
        Mistake("you took 4 bytes whatever dtype says.", (_each(lambda dtype, base: 4),)),
        Mistake("you took 2 bytes whatever dtype says.", (_each(lambda dtype, base: 2),)),
        Mistake(
            "you included what training keeps: gradients, or the optimizer's two numbers. The file holds weights.",
            tuple(
                _each(lambda dtype, base, size=size: size(dtype.itemsize))
                for size in (lambda n: 3 * n, lambda n: 4 * n, lambda n: n + 8, lambda n: 2 * n + 8, lambda n: 16)
            ),
        ),
        Mistake("you counted numbers. Each takes 4 bytes in fp32 and 2 in fp16.", (_each(lambda dtype, base: 1),)),
        Mistake("you counted bits. A byte has eight.", (_each(lambda dtype, base: 8 * dtype.itemsize),)),
        Mistake(
            "you stored BA, which is as large as the matrix. The file holds the two thin factors.",
            (_counted(lambda d, k, r: d * k),),
        ),
        Mistake(
            "you counted one factor. A has r·k numbers and B has d·r: both are in the file.",
            (_counted(lambda d, k, r: r * k), _counted(lambda d, k, r: r * d)),
        ),
        Mistake(
            "you took the matrices for square: A and B hold r (d + k) numbers, not 2·r·d.",
            (_counted(lambda d, k, r: 2 * r * d), _counted(lambda d, k, r: 2 * r * k)),
        ),
        Mistake(
            "you multiplied the sizes of A and B. They lie side by side: r·k + d·r.",
            (_counted(lambda d, k, r: r * k * d * r),),
        ),
        Mistake(
            "you counted one matrix. Every adapted one has an A and a B.",
            tuple(lambda shapes, r, dtype, base, i=i: r * sum(shapes[i]) * dtype.itemsize for i in (0, -1)),
        ),
        Mistake(
            "you gave a multiple of bytes, such as MiB. Bytes are asked for.",
            tuple(_each(lambda dtype, base, n=n: dtype.itemsize / n) for n in (10**3, 2**10, 10**6, 2**20)),
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


# count_targets

POCKET_MODULES = {m.name: (m.d, m.k) for m in shape_of("pocket").modules}
BIAS = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias"
T5 = {"shared": (512, 32128), BIAS: (8, 32)} | {  # the encoder of t5-small
    f"encoder.block.{block}.layer.{name}": shape
    for block in range(6)
    for name, shape in (
        *((f"0.SelfAttention.{part}", (512, 512)) for part in "qkvo"),
        ("1.DenseReluDense.wi", (2048, 512)),
        ("1.DenseReluDense.wo", (512, 2048)),
    )
}


def _hits(name, target):
    return name == target or name.endswith("." + target)


def _count(hits=_hits, numbers=lambda d, k, r: r * (d + k)):
    """An answer with another rule, `hits(name, target)`, or other numbers for each module that is hit."""

    def answer(modules, targets, r):
        found = [shape for name, shape in modules.items() if any(hits(name, target) for target in targets)]
        return len(found), sum(numbers(d, k, r) for d, k in found)

    return answer


def _found(change):
    """An answer that counts a changed list of hits, a function of (name, target) for every hit."""

    def answer(modules, targets, r):
        found = change([(name, target) for target in targets for name in modules if _hits(name, target)])
        return len(found), sum(r * sum(modules[name]) for name in found)

    return answer


def _first_of_each_target(hits):
    return set({target: name for name, target in hits[::-1]}.values())


def _one_in_each_block(hits):
    """The first module that a target hits in each block, which is attention's."""
    firsts = {(target, *re.findall(r"\.\d+\.", name)[:1]): name for name, target in hits[::-1]}
    return set(firsts.values())


def _same_size(modules, targets, r):
    found = [shape for name, shape in modules.items() if any(_hits(name, target) for target in targets)]
    return len(found), len(found) * r * sum(found[0])


COUNT_TARGETS = Exercise(
    name="count_targets",
    task="How many modules a list of targets hits, and how many numbers LoRA trains in them.",
    stub='''\
def count_targets(modules, targets, r):
    """(modules matched, parameters trained) by LoRA of rank r on `targets`, a list such
    as ("c_proj", "wte").

    modules: (d, k) of every module by its full name, such as
    {"transformer.h.0.attn.c_proj": (256, 256)}.
    A target matches the module of that name, and those whose name ends in a dot and the
    target.
    """
    raise NotImplementedError
''',
    hint="Go through the modules, and ask of each whether any target hits it: name == target, or "
    'name.endswith("." + target). Print the names that "c_proj" hits.',
    solution="""\
def count_targets(modules, targets, r):
    hit = [
        shape
        for name, shape in modules.items()
        if any(name == target or name.endswith("." + target) for target in targets)
    ]
    return len(hit), sum(r * (d + k) for d, k in hit)
""",
    praise="c_proj ends attention and the MLP, and the dot keeps o from hitting wo. Read the report before you train.",
    reference=_count(),
    probes=(
        cases(
            lambda modules, targets, r: (
                f"for {', '.join(targets)} in {'t5-small' if 'shared' in modules else 'the pocket model'} and r = {r}"
            ),
            (POCKET_MODULES, ("c_proj",), 16),
            (POCKET_MODULES, ("c_attn", "c_proj", "c_fc", "wte", "wpe"), 16),
            (POCKET_MODULES, ("attn.c_proj", "c_proj"), 4),
            (POCKET_MODULES, ("h.1.mlp.c_fc", "lm_head"), 4),
            (T5, ("o",), 8),
            (T5, ("q", "v"), 8),
        ),
    ),
    mistakes=(
        Mistake(
            "you counted attention's c_proj alone. The MLP of each block has one too, and the name hits both.",
            (
                _count(lambda name, target: _hits(name, target) and not (target == "c_proj" and ".mlp." in name)),
                _found(_one_in_each_block),
            ),
        ),
        Mistake(
            "your target hits any name that holds it, so o hits encoder. Only the end of a name counts.",
            (_count(lambda name, target: target in name),),
        ),
        Mistake(
            "you forgot the dot: o is no name that wo ends in. Compare whole parts.",
            (_count(lambda name, target: name.endswith(target)),),
        ),
        Mistake(
            "you compared whole names. A target may be the last part, or the last few, of a longer name.",
            (_count(lambda name, target: name == target),),
        ),
        Mistake(
            "you compared last parts alone. A target may have several, such as attn.c_proj.",
            (_count(lambda name, target: name.rpartition(".")[2] == target),),
        ),
        Mistake(
            "you missed a module at the top of the tree, such as lm_head: its name has no dot before it.",
            (_count(lambda name, target: name.endswith("." + target)),),
        ),
        Mistake(
            "you counted a module twice that two targets hit. It gets one A and one B.",
            (_found(lambda hits: [name for name, _ in hits]),),
        ),
        Mistake(
            "you counted names. A target hits a module in every block, and may hit several there.",
            (
                _found(_first_of_each_target),
                lambda modules, targets, r: (len(targets), _count()(modules, targets, r)[1]),
            ),
        ),
        Mistake(
            "you counted one block. A name hits its module in each of them.",
            (_found(lambda hits: {n for n, _ in hits if ".0." in n.partition(".layer.")[0] + "." or ".h." not in n}),),
        ),
        Mistake(
            "you counted dense matrices. LoRA trains r (d + k) numbers in each.",
            (_count(numbers=lambda d, k, r: d * k),),
        ),
        Mistake(
            "you counted one factor. A has r·k numbers and B has d·r.",
            (_count(numbers=lambda d, k, r: r * k), _count(numbers=lambda d, k, r: r * d)),
        ),
        Mistake(
            "you took the modules for square: A and B hold r (d + k) numbers, not 2·r·d.",
            (_count(numbers=lambda d, k, r: 2 * r * d), _count(numbers=lambda d, k, r: 2 * r * k)),
        ),
        Mistake("you left r out. A has r rows and B has r columns.", (_count(numbers=lambda d, k, r: d + k),)),
        Mistake("you gave every module the first one's size. Add up their own.", (_same_size,)),
        Mistake("you swapped the two. The number of modules comes first.", (lambda *case: _count()(*case)[::-1],)),
    ),
)


EXERCISES = (SPREAD_BUDGET, ADAPTER_BYTES, SAME_EFFECT, COUNT_TARGETS)
