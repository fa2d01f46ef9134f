"""The exercises of notebook 04: what a part is worth, the error of a cut."""

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


# alone_and_without


def _fractions(alone, without, whole=lambda loss: loss["old"] - loss["all"], times=1):
    """An answer of two differences of losses, each named by its ends, over `whole`."""
    return lambda loss: tuple(times * (loss[high] - loss[low]) / whole(loss) for high, low in (alone, without))


def _losses(*values):
    return (dict(zip(("old", "all", "part", "rest"), values)),)


ALONE_AND_WITHOUT = Exercise(
    name="alone_and_without",
    task="What a part of ΔW recovers on its own, and what is lost when it alone is left out.",
    stub='''\
def alone_and_without(loss):
    """(alone, without): what a part of ΔW recovers on its own, and how much of the
    recovery is lost when only that part is left out. Both are fractions of full
    fine-tuning's improvement.

    loss: the losses of four models, a dictionary: "old", with the old weights; "all",
    with all of ΔW added; "part", with the part alone; "rest", with the rest alone.
    """
    raise NotImplementedError
''',
    hint="Full fine-tuning's improvement is the loss of the old weights minus that with all of ΔW. Where do you end up "
    "if you leave the part out?",
    solution="""\
def alone_and_without(loss):
    improvement = loss["old"] - loss["all"]
    alone = (loss["old"] - loss["part"]) / improvement
    without = (loss["rest"] - loss["all"]) / improvement
    return alone, without
""",
    praise="for the first four terms, that was 77% and 30%. Two numbers for one part, and neither is its share.",
    reference=_fractions(("old", "part"), ("rest", "all")),
    probes=(
        cases(
            lambda loss: f"for losses of {', '.join(map(str, loss.values()))}",
            _losses(3.0, 2.5, 2.6, 2.7),
            _losses(2.0, 1.0, 1.25, 1.5),
        ),
    ),
    mistakes=(
        Mistake(
            "your second number is what the rest recovers. What is lost without the part is the distance from there to "
            "full fine-tuning.",
            (_fractions(("old", "part"), ("old", "rest")),),
        ),
        Mistake(
            "your second number is what is left to gain with the part alone. Use the model with the rest alone.",
            (_fractions(("old", "part"), ("part", "all")),),
        ),
        Mistake(
            "your numbers are in the other order: first what the part recovers alone.",
            (_fractions(("rest", "all"), ("old", "part")),),
        ),
        Mistake(
            "these are losses. Divide them by full fine-tuning's improvement.",
            (_fractions(("old", "part"), ("rest", "all"), whole=lambda loss: 1),),
        ),
        Mistake(
            "you divided by the old loss. Full fine-tuning's improvement is 100%.",
            (_fractions(("old", "part"), ("rest", "all"), whole=lambda loss: loss["old"]),),
        ),
        Mistake(
            "you gave percentages. Fractions are asked for, such as 0.72.",
            (_fractions(("old", "part"), ("rest", "all"), times=100),),
        ),
        Mistake(
            "your signs are turned round. A lower loss is an improvement.",
            (_fractions(("part", "old"), ("all", "rest")),),
        ),
    ),
)


EXERCISES = (ALONE_AND_WITHOUT, TRUNCATION_ERROR)
