"""The exercises of notebook 04: how many terms hold the energy, and a sum of chosen terms."""

import torch
from torch import Tensor

from lorabook.workbook.kit.exercise import Exercise, Mistake, cases

# terms_needed

# Squares 16, 4, 4, 1 and 25, 9, 1, 1, 0.25: what is left out can be added up in the head.
SPECTRA = torch.tensor([4.0, 2.0, 2.0, 1.0]), torch.tensor([5.0, 3.0, 1.0, 1.0, 0.5], dtype=torch.float64)


def _spectrum(S, **more):
    values = ", ".join(f"{s:g}" for s in S.tolist())
    return f"for singular values {values} and " + ", ".join(f"{name} = {value}" for name, value in more.items())


def _first(reached, plus=1):
    """An answer: the index of the first true entry of `reached(S, share)`, plus `plus`."""
    return lambda S, share: int(reached(S, share).double().argmax()) + plus


def _energies(S):
    return S.double().square().cumsum(0) / S.double().square().sum()


TERMS_NEEDED = Exercise(
    name="terms_needed",
    task="How many terms it takes to hold a share of the energy.",
    stub='''\
def terms_needed(S, share):
    """The smallest r for which the first r terms have at least this share of the energy,
    from all singular values S (a tensor, largest first)."""
    raise NotImplementedError
''',
    hint="Term i has energy σᵢ². `cumsum` adds them up one by one.",
    solution="""\
def terms_needed(S, share):
    energies = (S**2).cumsum(0) / (S**2).sum()
    return int((energies < share).sum()) + 1
""",
    praise="the picture needs 1 term for 90% of its energy. Each ΔW needs between 43 and 135.",
    reference=_first(lambda S, share: _energies(S) >= share),
    probes=(
        cases(
            lambda S, share: _spectrum(S, share=share),
            *((SPECTRA[0], share) for share in (0.5, 0.7, 0.9, 0.99)),
            *((SPECTRA[1], share) for share in (0.6, 0.9, 0.95, 0.98)),
        ),
    ),
    mistakes=(
        Mistake(
            "you added σ, not σ². A term's energy is the square of its singular value.",
            (_first(lambda S, share: S.double().cumsum(0) / S.double().sum() >= share),),
        ),
        Mistake(
            "your count is one too low. `energies[r - 1]` is what the first r terms hold.",
            (_first(lambda S, share: _energies(S) >= share, plus=0),),
        ),
        Mistake(
            "your count is one too high. The first r terms may hold exactly what is asked for, or a little more.",
            (_first(lambda S, share: _energies(S) >= share, plus=2),),
        ),
        Mistake(
            "you counted from the smallest term. The first terms are the largest.",
            (_first(lambda S, share: _energies(S.flip(0)) >= share),),
        ),
        Mistake(
            "you gave the energy of these terms. Their number is asked for.",
            (lambda S, share: _energies(S)[_energies(S) >= share][0].item(),),
        ),
        Mistake(
            "you compared the norm. A share of the energy is a share of the squared norm.",
            (_first(lambda S, share: _energies(S).sqrt() >= share),),
        ),
    ),
)


# chosen_terms

# Wide, tall and square, each with singular values that differ clearly.
MATRICES = (
    torch.tensor([[3.0, 1.0, 0.0, 2.0], [0.0, 2.0, 4.0, 1.0], [1.0, 0.0, 1.0, 5.0]]),
    torch.tensor([[1.0, 0.0], [2.0, 3.0], [0.0, -4.0]]),
    torch.tensor([[4.0, 1.0, 0.0], [0.0, 2.0, 0.0], [1.0, 0.0, 1.0]]),
)


def _terms(M: Tensor, indices: list[int], values: bool = True) -> Tensor:
    """The terms of M with these indices, added up; without `values`, each term has length 1."""
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    weights = S if values else torch.ones_like(S)
    return sum((weights[i] * torch.outer(U[:, i], Vh[i]) for i in indices), torch.zeros_like(M))


def _shape(M: Tensor, indices: list[int]) -> str:
    return f"for a {M.shape[0]} × {M.shape[1]} matrix and indices = {indices}"


CHOSEN_TERMS = Exercise(
    name="chosen_terms",
    task="The sum of chosen terms of a matrix.",
    stub='''\
def chosen_terms(M, indices):
    """The sum of the terms of M listed in `indices`: 0 is the largest term, 1 the next,
    and so on.

    M: (d, k), indices: a list of ints -> (d, k).
    """
    raise NotImplementedError
''',
    hint="It's `first_terms` with `indices` in place of `:r`.",
    solution="""\
import torch


def chosen_terms(M, indices):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return (U[:, indices] * S[indices]) @ Vh[indices]
""",
    praise="terms 5 to 8 of every ΔW recover 35%, and the last 128 terms together 1%.",
    reference=_terms,
    probes=(
        cases(
            _shape,
            *((MATRICES[0], indices) for indices in ([0], [1], [0, 2], [1, 2])),
            *((MATRICES[1], indices) for indices in ([1], [0, 1])),
            *((MATRICES[2], indices) for indices in ([2], [0, 1])),
        ),
    ),
    mistakes=(
        Mistake(
            "you left out the singular values. A term is σᵢ uᵢ vᵢᵀ.",
            (lambda M, indices: _terms(M, indices, values=False),),
        ),
        Mistake(
            "you kept the first terms, as many as were asked for. Keep those that are listed.",
            (lambda M, indices: _terms(M, list(range(len(indices)))),),
        ),
        Mistake(
            "you kept all terms up to the last one that is listed.",
            (lambda M, indices: _terms(M, list(range(max(indices) + 1))),),
        ),
        Mistake(
            "you removed the listed terms. Keep them, and nothing else.",
            (lambda M, indices: M - _terms(M, indices),),
        ),
        Mistake(
            "you counted the terms from 1. Index 0 is the largest term.",
            (lambda M, indices: _terms(M, [i - 1 for i in indices]),),
        ),
    ),
)


EXERCISES = (TERMS_NEEDED, CHOSEN_TERMS)
