"""The exercises of notebook 04: how many terms hold the energy, the error of a cut."""

import torch

from lorabook.workbook.kit.exercise import Exercise, Mistake, cases
from lorabook.workbook.low_rank.svd import truncation_error

# truncation_error

# Squares 16, 4, 4, 1 and 25, 9, 1, 1, 0.25: what is left out can be added up in the head.
SPECTRA = torch.tensor([4.0, 2.0, 2.0, 1.0]), torch.tensor([5.0, 3.0, 1.0, 1.0, 0.5], dtype=torch.float64)


def _spectrum(S, **more):
    values = ", ".join(f"{s:g}" for s in S.tolist())
    return f"for singular values {values} and " + ", ".join(f"{name} = {value}" for name, value in more.items())


TRUNCATION_ERROR = Exercise(
    name="truncation_error",
    task="How far a matrix is from the closest one of rank r.",
    stub='''\
def truncation_error(S, r):
    """The Frobenius norm (the square root of the energy) of what rank r leaves out,
    from all singular values S (a tensor, largest first)."""
    raise NotImplementedError
''',
    hint="The Frobenius norm of a matrix is the root of the sum of its squared singular values. Which are left out?",
    solution="""\
def truncation_error(S, r):
    return (S[r:] ** 2).sum().sqrt()
""",
    praise="the root of the sum of squares of what was dropped: the error is known before anything is rebuilt.",
    reference=truncation_error,
    probes=(
        cases(
            lambda S, r: _spectrum(S, r=r),
            *((S, r) for S in SPECTRA for r in (1, 2, 3)),
            (SPECTRA[0], 4),
            (SPECTRA[1], 0),
        ),
    ),
    mistakes=(
        Mistake(
            "you added σ, not σ². The squares add up, because the singular vectors are orthogonal.",
            (lambda S, r: S[r:].sum(), lambda S, r: S[r:].sum().sqrt()),
        ),
        Mistake("you counted σ_r as lost. Rank r keeps σ_1 to σ_r.", (lambda S, r: S[max(0, r - 1) :].norm(),)),
        Mistake("you left out the root: this is the squared error.", (lambda S, r: S[r:].square().sum(),)),
        Mistake("you measured what is kept. The error is what is left out.", (lambda S, r: S[:r].norm(),)),
        Mistake(
            "you divided by the norm of the matrix. The error asked for is not a share.",
            (lambda S, r: S[r:].norm() / S.norm(), lambda S, r: S[r:].square().sum() / S.square().sum()),
        ),
        Mistake(
            "you gave the largest value left out. That is the error in the spectral norm; the Frobenius norm adds all.",
            (lambda S, r: S[r] if r < len(S) else 0.0,),
        ),
        Mistake("you left out σ_(r+1), the first value that is lost.", (lambda S, r: S[r + 1 :].norm(),)),
        Mistake(
            "you averaged the squares. The Frobenius norm adds them.",
            (lambda S, r: S[r:].square().mean().sqrt(), lambda S, r: S[r:].square().mean()),
        ),
    ),
)


# terms_needed


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


EXERCISES = (TERMS_NEEDED, TRUNCATION_ERROR)
