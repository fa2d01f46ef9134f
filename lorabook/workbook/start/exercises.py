"""The exercise of notebook 00: how many parameters LoRA trains beside one matrix."""

import math

from lorabook.workbook.kit.exercise import Exercise, Mistake, cases

LORA_SIZE = Exercise(
    name="lora_size",
    task="The parameters that LoRA trains next to one weight matrix.",
    stub='''\
def lora_size(d, k, r):
    """How many parameters LoRA of rank r trains
    next to a frozen weight W0 of shape d × k."""
    raise NotImplementedError
''',
    hint="B is d × r and A is r × k. Count each, and add.",
    solution="""\
def lora_size(d, k, r):
    return d * r + r * k
""",
    praise="r (d + k). It grows with the sides of the matrix, not with its area.",
    reference=lambda d, k, r: r * (d + k),
    probes=(
        cases(
            lambda d, k, r: f"for d = {d}, k = {k}, r = {r}", (2304, 2048, 16), (1024, 256, 4), (256, 256, 1), (5, 3, 2)
        ),
    ),
    mistakes=(
        Mistake(
            "you multiplied all three. B and A are two separate matrices: add their parameters.",
            (lambda d, k, r: d * k * r, lambda d, k, r: d * r * r * k),
        ),
        Mistake(
            "you assumed that the matrix is square. B has r columns of d entries, A has r rows of k.",
            (lambda d, k, r: 2 * r * d, lambda d, k, r: 2 * r * k),
        ),
        Mistake(
            "you added r to the sides. B is d × r and A is r × k: multiply each, then add the two.",
            (lambda d, k, r: (d + r) * (k + r), lambda d, k, r: (d + r) + (r + k), lambda d, k, r: (d + r) * (r + k)),
        ),
        Mistake(
            "you counted the rank once. It is a side of both matrices: of B and of A.",
            (lambda d, k, r: r * d + k, lambda d, k, r: d + r * k, lambda d, k, r: r + d + k),
        ),
        Mistake("you counted one factor. B and A are both trained.", (lambda d, k, r: d * r, lambda d, k, r: r * k)),
        Mistake("you counted W0 too. It is frozen: only B and A are trained.", (lambda d, k, r: d * k + r * (d + k),)),
        Mistake("you counted W0 instead of B and A. W0 is the one that is not trained.", (lambda d, k, r: d * k,)),
        Mistake("you left the rank out: there are r columns in B and r rows in A.", (lambda d, k, r: d + k,)),
        Mistake(
            "these are bytes. The question is how many parameters there are.",
            (lambda d, k, r: 4 * r * (d + k), lambda d, k, r: 2 * r * (d + k)),
        ),
        Mistake(
            "this is a fraction of W0. The question is how many parameters there are.",
            (lambda d, k, r: r * (d + k) / (d * k), lambda d, k, r: 100 * r * (d + k) / (d * k)),
        ),
        Mistake(
            "this is the rank at which B and A are as large as W0. The question is how many parameters they have.",
            (lambda d, k, r: d * k / (d + k), lambda d, k, r: math.floor(d * k / (d + k))),
        ),
    ),
)

EXERCISES = (LORA_SIZE,)
