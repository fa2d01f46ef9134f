"""Exercises: the closest matrix of a rank, and the rank up to which LoRA is smaller than the matrix."""

import math

import torch

from lorabook.workbook.kit.engine import Exercise, Mistake, cases, drawn
from lorabook.workbook.low_rank.svd import break_even_rank, low_rank


def _dtype(tensor):
    return str(tensor.dtype).removeprefix("torch.")


def _from_svd(rebuild):
    """An answer that rebuilds the matrix from U, S, Vh and r."""
    return lambda M, r: rebuild(*torch.linalg.svd(M, full_matrices=False), r)


TRUNCATED_SVD = Exercise(
    name="truncated_svd",
    task="The closest matrix of rank r, from the singular value decomposition.",
    stub='''\
import torch


def truncated_svd(M, r):
    """The matrix of rank r that is closest to M: same shape, same dtype.

    U, S, Vh = torch.linalg.svd(M, full_matrices=False) gives M = U diag(S) Vh, S falling.
    """
    raise NotImplementedError
''',
    hint="Keep the first r columns of U, the first r of S, the first r rows of Vh. U * S scales U's columns.",
    solution="""\
import torch


def truncated_svd(M, r):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return (U[:, :r] * S[:r]) @ Vh[:r]
""",
    praise="no matrix of rank r comes closer (Eckart and Young).",
    reference=low_rank,
    probes=(
        cases(
            lambda M, r: f"for a {M.shape[0]} × {M.shape[1]} matrix in {_dtype(M)} and r = {r}",
            (drawn(6, 6), 2),
            (drawn(9, 5, seed=1), 3),
            (drawn(4, 7, seed=2, dtype=torch.float64), 1),
            (drawn(5, 3, seed=3), 3),
        ),
    ),
    mistakes=(
        Mistake(
            "you kept rows of U. The singular vectors are its columns: U[:, :r].",
            (
                _from_svd(lambda U, S, Vh, r: U[:r] @ torch.diag(S[:r]) @ Vh[:r]),
                _from_svd(lambda U, S, Vh, r: (U[:r] * S[:r]) @ Vh[:r]),
                _from_svd(lambda U, S, Vh, r: U[:r] @ torch.diag(S) @ Vh),
                _from_svd(lambda U, S, Vh, r: U[:r].T @ torch.diag(S[:r]) @ Vh[:r]),
            ),
        ),
        Mistake(
            "you used S twice. Each singular value stands once between U and Vh.",
            (_from_svd(lambda U, S, Vh, r: (U[:, :r] * S[:r] ** 2) @ Vh[:r]),),
        ),
        Mistake(
            "you left S out. The columns of U and rows of Vh have length 1: S says how strong each pair is.",
            (_from_svd(lambda U, S, Vh, r: U[:, :r] @ Vh[:r]),),
        ),
        Mistake(
            "you took columns of Vh. It is V transposed already: the singular vectors are its rows, Vh[:r].",
            (
                _from_svd(lambda U, S, Vh, r: (U[:, :r] * S[:r]) @ Vh[:, :r].T),
                _from_svd(lambda U, S, Vh, r: (U[:, :r] * S[:r]) @ Vh[:r].T),
                _from_svd(lambda U, S, Vh, r: (U[:, :r] * S[:r]) @ Vh[:, :r]),
                _from_svd(lambda U, S, Vh, r: U[:, :r] @ torch.diag(S[:r]) @ Vh[:, :r]),
            ),
        ),
        Mistake(
            "you kept the smallest singular values. They come last; the first r carry most.",
            (_from_svd(lambda U, S, Vh, r: (U[:, -r:] * S[-r:]) @ Vh[-r:]),),
        ),
        Mistake(
            "you kept one singular value too few: [:r] holds r of them.",
            (_from_svd(lambda U, S, Vh, r: (U[:, : r - 1] * S[: r - 1]) @ Vh[: r - 1]),),
        ),
        Mistake(
            "you kept one singular value too many: [:r] holds r of them.",
            (_from_svd(lambda U, S, Vh, r: (U[:, : r + 1] * S[: r + 1]) @ Vh[: r + 1]),),
        ),
        Mistake(
            "you gave what is left out. The answer is the part of rank r itself.",
            (lambda M, r: M - low_rank(M, r),),
        ),
        Mistake(
            "you gave three factors. Multiply them: the answer has the shape of M.",
            (_from_svd(lambda U, S, Vh, r: (U[:, :r], S[:r], Vh[:r])),),
        ),
    ),
)

BREAK_EVEN = Exercise(
    name="break_even",
    task="The rank up to which LoRA trains no more numbers than the matrix has.",
    stub='''\
def break_even(d, k):
    """The largest whole rank r at which A (r × k) and B (d × r) hold no more numbers together than W0 (d × k)."""
    raise NotImplementedError
''',
    hint="Write down the numbers in A and B together, set them equal to d·k, solve for r, and round to a whole rank.",
    solution="""\
def break_even(d, k):
    return d * k // (d + k)
""",
    praise="r (d + k) ≤ d k: half the side of a square matrix, and far above the ranks in use.",
    reference=break_even_rank,
    probes=(
        cases(lambda d, k: f"for d = {d}, k = {k}", (2304, 2048), (1024, 1024), (6, 4), (256, 1024), (5, 1), (1, 1)),
    ),
    mistakes=(
        Mistake(
            "you gave min(d, k), the largest rank there is. At that rank LoRA trains more numbers than the matrix has.",
            (lambda d, k: min(d, k),),
        ),
        Mistake(
            "you gave half the matrix. The rank is multiplied by d + k: r (d + k) = d k.",
            (lambda d, k: d * k / 2, lambda d, k: d * k // 2),
        ),
        Mistake(
            "you turned the fraction round. r (d + k) = d k gives r = d k / (d + k).", (lambda d, k: (d + k) / (d * k),)
        ),
        Mistake(
            "you rounded up. One rank more and LoRA trains more numbers than the matrix has.",
            (lambda d, k: math.ceil(d * k / (d + k)), lambda d, k: d * k // (d + k) + 1),
        ),
        Mistake(
            "you rounded to the nearest rank, which may be one too many: round down.",
            (lambda d, k: round(d * k / (d + k)),),
        ),
        Mistake(
            "you counted one factor. A has r·k numbers and B has d·r: both are trained.",
            (lambda d, k: k, lambda d, k: d),
        ),
        Mistake(
            "you took the matrix for square. In general the two factors hold r (d + k) numbers.",
            (lambda d, k: min(d, k) // 2, lambda d, k: d // 2, lambda d, k: k // 2, lambda d, k: max(d, k) // 2),
        ),
        Mistake("you gave a fraction. Ranks are whole numbers: round down.", (lambda d, k: d * k / (d + k),)),
        Mistake(
            "you left out the rank at which both hold equally many. No more than the matrix: that rank counts.",
            (lambda d, k: (d * k - 1) // (d + k),),
        ),
    ),
)

EXERCISES = (TRUNCATED_SVD, BREAK_EVEN)
