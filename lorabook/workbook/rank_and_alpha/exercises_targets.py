"""Exercises: the scaling when the rank changes, and what a list of targets hits."""

import math
import re

from lorabook.memory.families import KNOWN
from lorabook.workbook.kit.engine import Exercise, Mistake, cases

# same_scaling


def _alpha(plain=lambda ratio: ratio, root=lambda ratio: math.sqrt(ratio)):
    """An answer that multiplies alpha by a function of new_r / r, one for alpha / r and one for rslora."""
    return lambda alpha, r, new_r, rslora: alpha * (root if rslora else plain)(new_r / r)


def _whatever(value):
    """An answer that takes no notice of rslora: a function of alpha, r and new_r."""
    return lambda alpha, r, new_r, rslora: value(alpha, r, new_r)


SAME_SCALING = Exercise(
    name="same_scaling",
    task="The alpha that keeps the scaling when the rank changes.",
    stub='''\
def same_scaling(alpha, r, new_r, rslora):
    """The alpha at which rank new_r has the scaling that rank r has with `alpha`.

    rslora: whether the scaling is rsLoRA's, which divides alpha by the root of the rank, or LoRA's own.
    """
    raise NotImplementedError
''',
    hint="Write down the scaling before and after, set the two equal, and solve for the new alpha: once for "
    "alpha / r, once for alpha / √r.",
    solution="""\
import math


def same_scaling(alpha, r, new_r, rslora):
    ratio = new_r / r
    return alpha * (math.sqrt(ratio) if rslora else ratio)
""",
    praise="α grows as r does, under rsLoRA as its root. Leave α alone, and the scaling falls when r rises.",
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
            "you left α as it was. With another rank the same α is another scaling.",
            (_alpha(lambda q: 1, lambda q: 1),),
        ),
        Mistake(
            "you squared. The scaling is proportional to α: twice the rank takes twice the α.",
            (
                _whatever(lambda alpha, r, new_r: alpha**2),
                _alpha(lambda q: q**2, lambda q: q**2),
                _alpha(lambda q: q**2, lambda q: q),
            ),
        ),
        Mistake(
            "you treated rslora as α/r. It divides by √r, so twice the rank takes √2 times the α.",
            (_alpha(root=lambda q: q),),
        ),
        Mistake(
            "you took the root without rslora too. LoRA's own scaling is α/r.",
            (_alpha(plain=math.sqrt),),
        ),
        Mistake("you swapped the two: the root belongs to rslora.", (_alpha(math.sqrt, lambda q: q),)),
        Mistake(
            "you turned the ratio round. A larger rank divides by more, so it takes a larger α.",
            (_alpha(lambda q: 1 / q, lambda q: 1 / math.sqrt(q)), _alpha(lambda q: 1 / q, lambda q: 1 / q)),
        ),
        Mistake(
            "you doubled α whatever the ranks are. What counts is new_r / r.",
            (_alpha(lambda q: 2, lambda q: 2), _alpha(lambda q: 2, lambda q: math.sqrt(2))),
        ),
        Mistake(
            "you set α by a rule of thumb, such as 2r. That is a scaling of its own, not the one you had.",
            (
                _whatever(lambda alpha, r, new_r: 2 * new_r),
                _whatever(lambda alpha, r, new_r: new_r),
                _whatever(lambda alpha, r, new_r: new_r / 2),
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
            "you added what the rank grew by. A ratio stays when both sides are multiplied, not when both grow.",
            (_whatever(lambda alpha, r, new_r: alpha + new_r - r),),
        ),
        Mistake(
            "you rounded. α may be any positive number.",
            (
                lambda *case: int(_alpha()(*case)),
                lambda *case: round(_alpha()(*case)),
                _alpha(lambda q: int(q), lambda q: math.sqrt(int(q))),
                _alpha(lambda q: int(q), math.sqrt),
                lambda alpha, r, new_r, rslora: alpha * (math.sqrt(new_r / r) if rslora else new_r / r) // 1,
                lambda alpha, r, new_r, rslora: alpha * math.sqrt(new_r / r) if rslora else alpha * new_r // r,
            ),
        ),
        Mistake(
            "your root covers α too. Under rslora only the ranks stand under it.",
            (lambda alpha, r, new_r, rslora: math.sqrt(alpha * new_r / r) if rslora else alpha * new_r / r,),
        ),
    ),
)

# count_targets

POCKET = {m.name: (m.d, m.k) for m in KNOWN["pocket"].modules}
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
    """(modules hit, numbers trained) by LoRA of rank r on `targets`, a list such as ("c_proj", "wte").

    modules: (d, k) of every module by its full name, such as {"transformer.h.0.attn.c_proj": (256, 256)}.
    A target hits the module of that name, and those whose name ends in a dot and the target.
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
            (POCKET, ("c_proj",), 16),
            (POCKET, ("c_attn", "c_proj", "c_fc", "wte", "wpe"), 16),
            (POCKET, ("attn.c_proj", "c_proj"), 4),
            (POCKET, ("h.1.mlp.c_fc", "lm_head"), 4),
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
        Mistake(
            "you swapped the two. The number of modules comes first.",
            (lambda *case: _count()(*case)[::-1],),
        ),
    ),
)

EXERCISES = (SAME_SCALING, COUNT_TARGETS)
