"""The exercises of notebook 06: the Walsh-Hadamard transform, and Fastfood's adjoint."""

import math

import torch
import torch.nn.functional as F

from lorabook.subspace import fastfood
from lorabook.workbook.kit.exercise import Exercise, Mistake, cases, drawn


def _kind(x):
    return f"{len(x)} numbers in {str(x.dtype).removeprefix('torch.')}"


# fwht


def _stages(pair, stages=lambda n: [2**i for i in range(n.bit_length() - 1)], last=lambda y, n: y):
    """An answer that replaces pairs (a, b) at the distances `stages` gives by `pair(a, b)`, and ends with `last`."""

    def answer(x):
        n = len(x)
        for h in stages(n):
            a, b = x.reshape(-1, 2, h).unbind(1)  # (n,) -> (n / 2h, h) twice
            x = torch.stack(pair(a, b), 1).reshape(n)
        return last(x.clone(), n)

    return answer


def _butterfly(a, b):
    return a + b, a - b


def _in_the_order_of(key):
    """The right numbers, sorted by `key` of the place and of log2(n)."""
    return lambda x: fastfood.fwht(x)[sorted(range(len(x)), key=lambda i: key(i, len(x).bit_length() - 1))]


def _bit_reversed(i, bits):
    return int(f"{i:0{bits}b}"[::-1], 2) if bits else 0


def _sign_changes(i, bits):
    """How often row i of H of size 2^bits changes its sign: the Gray code read backwards."""
    gray, rank = _bit_reversed(i, bits), 0
    while gray:
        rank, gray = rank ^ gray, gray >> 1
    return rank


def _leaves_x(answer):
    x = drawn(8, seed=4)
    before = x.clone()
    answer(x)
    return {"x itself is left as it was": torch.equal(x, before)}


FWHT = Exercise(
    name="fwht",
    task="The Walsh-Hadamard transform in log2(n) stages.",
    stub='''\
import torch


def fwht(x):
    """H x for a vector x of n numbers, n a power of two: unscaled, as a new tensor of
    x's dtype.

    For h = 1, 2, 4 ... n/2: every pair (a, b) of numbers at distance h becomes
    (a + b, a - b).
    The pairs of a round: blocks start at 0, 2h, 4h ...; within a block, position j is
    paired with j + h.
    """
    raise NotImplementedError
''',
    hint="Two loops over places do it: i over range(0, n, 2 * h), j over range(i, i + h). Read a and b before writing.",
    solution="""\
import torch


def fwht(x):
    x, h = x.clone(), 1
    while h < len(x):
        for i in range(0, len(x), 2 * h):
            a, b = x[i : i + h].clone(), x[i + h : i + 2 * h].clone()
            x[i : i + h], x[i + h : i + 2 * h] = a + b, a - b
        h *= 2
    return x
""",
    praise="n log2(n) additions and no multiplication; twice is n times the vector.",
    reference=lambda x: fastfood.fwht(x),
    probes=(
        cases(
            lambda x: f"for {_kind(x)}",
            (drawn(8),),
            (drawn(16, seed=1, dtype=torch.float64),),
            (drawn(2, seed=2),),
            (drawn(1, seed=3),),
        ),
        _leaves_x,
    ),
    mistakes=(
        Mistake(
            "you overwrote a before you formed a - b, so that the second number became (a + b) - b = a.",
            (_stages(lambda a, b: (a + b, a)),),
        ),
        Mistake(
            "the last stage is missing: h runs up to n/2, and n/2 is one of them.",
            (_stages(_butterfly, lambda n: [2**i for i in range(n.bit_length() - 2)]),),
        ),
        Mistake(
            "the first stage is missing: h begins at 1, with neighbours.",
            (_stages(_butterfly, lambda n: [2**i for i in range(1, n.bit_length() - 1)]),),
        ),
        Mistake("you did one stage and stopped. There are log2(n).", (_stages(_butterfly, lambda n: [1] * (n > 1)),)),
        Mistake(
            "h stayed 1. Double it after each stage.", (_stages(_butterfly, lambda n: [1] * (n.bit_length() - 1)),)
        ),
        Mistake(
            "you scaled every stage, by 1/√2. The transform asked for is unscaled.",
            (_stages(lambda a, b: ((a + b) / math.sqrt(2), (a - b) / math.sqrt(2))),),
        ),
        Mistake(
            "you halved in every stage, so it averages. The transform asked for is unscaled.",
            (_stages(lambda a, b: ((a + b) / 2, (a - b) / 2)),),
        ),
        Mistake("the second of each pair has the wrong sign: it is a - b.", (_stages(lambda a, b: (a + b, b - a)),)),
        Mistake("you exchanged the two: the sum comes first.", (_stages(lambda a, b: (a - b, a + b)),)),
        Mistake(
            "your numbers are right and their order is not: splitting even from odd places, as an FFT does, reverses "
            "the bits of the place.",
            (_in_the_order_of(_bit_reversed),),
        ),
        Mistake(
            "your rows are sorted by their number of sign changes. H's own order is asked for, that of the stages.",
            (_in_the_order_of(_sign_changes),),
        ),
        Mistake("you changed x in place. Begin with a copy.", (lambda x: x.copy_(fastfood.fwht(x)),)),
    ),
)

# fastfood_adjoint


def _put(z, Pi):
    """The inverse of gathering: y with y[Pi] = z."""
    y = torch.empty_like(z)
    y[Pi] = z
    return y


def _adjoint(first="G", second="B", permute=_put, permute_first=False, scale=lambda c, L: 1 / c, crop=True):
    """The adjoint with changes: which diagonal stands where, how Pi is undone and when, the scale, the crop."""

    def answer(w, B, Pi, G, d, c):
        diagonals = {"B": B, "G": G, "": torch.ones_like(G)}
        z = fastfood.fwht(F.pad(w, (0, len(G) - len(w))))
        z = diagonals[first] * permute(z, Pi) if permute_first else permute(diagonals[first] * z, Pi)
        z = diagonals[second] * fastfood.fwht(z) * scale(c, len(G))
        return z[:d] if crop else z

    return answer


def _forward_again(w, B, Pi, G, d, c):
    z = fastfood.fwht(B * F.pad(w, (0, len(G) - len(w))))[Pi]
    return fastfood.fwht(G * z)[:d] / c


def _factors(d, D, L, seed, dtype=torch.float32):
    """w (D,), B, Pi, G (L,), d and c, as the projection of that size could hold them."""
    w, B, G = drawn(D, seed=seed, dtype=dtype), drawn(L, seed=seed + 1, dtype=dtype).sign(), drawn(L, seed=seed + 2)
    Pi = drawn(L, seed=seed + 3).argsort()
    return w, B, Pi, G.to(dtype), d, math.sqrt(D * G.double().square().sum().item())


FASTFOOD_ADJOINT = Exercise(
    name="fastfood_adjoint",
    task="The transpose of Fastfood's projection, factor by factor.",
    stub='''\
import torch
import torch.nn.functional as F
from lorabook.subspace.fastfood import fwht


def fastfood_adjoint(w, B, Pi, G, d, c):
    """P^T w, the adjoint (transpose) of the projection P whose forward pass is

        z = pad(theta, L); z = fwht(B * z); z = z[Pi]; z = fwht(G * z); return z[:D] / c

    w: (D,). B and G: (L,), diagonals. Pi: (L,), a permutation as whole numbers.
    c: a number, our √(D ΣG²). Returns (d,).
    """
    raise NotImplementedError
''',
    hint="Transpose each step and reverse their order. H and the diagonals are symmetric; y[Pi] = z undoes y = z[Pi].",
    solution="""\
import torch
import torch.nn.functional as F
from lorabook.subspace.fastfood import fwht


def fastfood_adjoint(w, B, Pi, G, d, c):
    z = G * fwht(F.pad(w, (0, len(G) - len(w))))
    y = torch.empty_like(z)
    y[Pi] = z
    return (B * fwht(y))[:d] / c
""",
    praise="the same factors in reverse order. This is the gradient of theta, given that of the parameters.",
    reference=_adjoint(),
    probes=(
        cases(
            lambda w, B, Pi, G, d, c: f"for d = {d}, D = {len(w)} and L = {len(G)}",
            _factors(3, 5, 8, 0),
            _factors(16, 16, 16, 10, torch.float64),
            _factors(7, 20, 32, 20),
        ),
    ),
    mistakes=(
        Mistake(
            "you scaled the transforms by 1/√L, as some public code does. The forward pass does not, so neither may "
            "its transpose.",
            (_adjoint(scale=lambda c, L: 1 / (c * L)), _adjoint(scale=lambda c, L: 1 / (c * math.sqrt(L)))),
        ),
        Mistake(
            "you gathered with Pi again. Its transpose puts back: y[Pi] = z, or z[Pi.argsort()].",
            (_adjoint(permute=lambda z, Pi: z[Pi]),),
        ),
        Mistake("Pi is missing.", (_adjoint(permute=lambda z, Pi: z),)),
        Mistake("you swapped B and G. Backwards, G comes first and B last.", (_adjoint("B", "G"),)),
        Mistake(
            "you undid Pi before G. Forwards G comes after Pi, so backwards it comes before.",
            (_adjoint(permute_first=True),),
        ),
        Mistake("you forgot to crop: theta has d numbers, not L.", (_adjoint(crop=False),)),
        Mistake("you left out the division by c.", (_adjoint(scale=lambda c, L: 1),)),
        Mistake(
            "you multiplied by c. A factor stays what it is in the transpose: 1/c.", (_adjoint(scale=lambda c, L: c),)
        ),
        Mistake("B is missing, and with it the signs of theta.", (_adjoint(second=""),)),
        Mistake("G is missing.", (_adjoint(first=""),)),
        Mistake("you applied the forward pass to w. The transpose runs through it from its end.", (_forward_again,)),
    ),
)

EXERCISES = (FWHT, FASTFOOD_ADJOINT)
