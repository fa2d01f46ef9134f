"""The exercises of notebook 05: from d parameters up to D, d90 off a curve, the bytes of a dense P."""

import torch

from lorabook.workbook.kit.exercise import Exercise, Mistake, cases, drawn

# project_up


D, WIDTH = 12, 3  # parameters and subspace of the tries


def _matrix(seed=1):
    """Numbers whose columns have lengths of their own."""
    return drawn(D, WIDTH, seed=seed) * torch.tensor([1.0, 3.0, 0.25])


def _unit(R):
    return R / R.norm(dim=0)


def _start(R, theta_d):
    return R.new_zeros(R.shape[1]) if theta_d is None else theta_d


def _with(P=_unit, start=_start):
    """The right answer with another P, made of R, or another start."""
    return lambda theta0, R, theta_d: theta0 + P(R).detach() @ start(R, theta_d)


def _shrunk(keep):
    """An answer that does something to theta0: `keep(P, theta0)`."""
    return lambda theta0, R, theta_d: (
        keep(_unit(R).detach(), theta0) + (_unit(R).detach() @ theta_d if theta_d is not None else 0)
    )


def _in_place(theta0, R, theta_d):
    if theta_d is not None:
        theta0 += _unit(R).detach() @ theta_d
    return theta0


def _from_zero(answer):
    theta0 = drawn(D)
    return {"with theta_d = None theta is theta0": torch.equal(answer(theta0, _matrix(), None), theta0)}


def _gradients(answer):
    theta_d, R = drawn(WIDTH, seed=2).requires_grad_(), _matrix().requires_grad_()
    theta = answer(drawn(D), R, theta_d)
    if theta.requires_grad:
        theta.square().sum().backward()
    return {"a gradient reaches theta_d": theta_d.grad is not None, "no gradient reaches R": R.grad is None}


def _keeps_start(answer):
    theta0 = drawn(D)
    before = theta0.clone()
    answer(theta0, _matrix(), drawn(WIDTH, seed=2))
    return {"theta0 itself is left as it was": torch.equal(theta0, before)}


PROJECT_UP = Exercise(
    name="project_up",
    task="The D parameters of a model whose d trained numbers are theta_d.",
    stub='''\
def project_up(theta0, R, theta_d):
    """theta0 + P theta_d. P is R with every column scaled to length 1, and is never
    trained.

    theta0: (D,). R: (D, d), random numbers.
    theta_d: (d,), or None, which means all zeros.
    Returns (D,), a new tensor. A gradient must reach theta_d, and none may reach R.
    """
    raise NotImplementedError
''',
    hint="R.norm(dim=0) holds the length of every column. theta_d starts where theta is theta0.",
    solution="""\
def project_up(theta0, R, theta_d):
    P = (R / R.norm(dim=0)).detach()
    if theta_d is None:
        theta_d = R.new_zeros(R.shape[1])
    return theta0 + P @ theta_d
""",
    praise="P carries d numbers up to D. Nothing is ever projected down.",
    reference=_with(),
    probes=(
        cases(
            lambda theta0, R, theta_d: f"for D = {len(theta0)} and d = {len(theta_d)}",
            (drawn(D), _matrix(), drawn(WIDTH, seed=2)),
            (drawn(5, seed=3).double(), drawn(5, 5, seed=4).double(), drawn(5, seed=5).double()),
        ),
        _from_zero,
        _gradients,
        _keeps_start,
    ),
    mistakes=(
        Mistake(
            "the columns of your P do not have length 1. A step of 0.1 in theta_d is to be a step of 0.1 in theta.",
            (_with(P=lambda R: R),),
        ),
        Mistake(
            "you divided by the norm of the whole matrix. Each column has a length of its own: R.norm(dim=0).",
            (_with(P=lambda R: R / R.norm()),),
        ),
        Mistake(
            "you scaled the rows. A column is one direction of theta, and it is columns that get length 1.",
            (_with(P=lambda R: R / R.norm(dim=1, keepdim=True)),),
        ),
        Mistake(
            "you divided by √D, which gives length 1 on average, and only for normal numbers. Divide by each length.",
            (_with(P=lambda R: R / len(R) ** 0.5), _with(P=lambda R: R / R.std(dim=0) / len(R) ** 0.5)),
        ),
        Mistake(
            "you made the columns orthogonal as well. Only length is asked for; they are nearly orthogonal anyway.",
            (_with(P=lambda R: torch.linalg.qr(R)[0]),),
        ),
        Mistake(
            "you left theta0 out. The subspace passes through theta0, not through zero.",
            (_shrunk(lambda P, theta0: torch.zeros_like(theta0)),),
        ),
        Mistake(
            "you applied P to theta0. theta0 is never projected: P meets theta_d alone.",
            (_shrunk(lambda P, theta0: P @ (P.T @ theta0)), _shrunk(lambda P, theta0: theta0 - P @ (P.T @ theta0))),
        ),
        Mistake("you subtracted P theta_d. It is added.", (_with(P=lambda R: -_unit(R)),)),
        Mistake(
            "theta_d does not start at zero. Training starts at theta0, and P times zero leaves it there.",
            (_with(start=lambda R, theta_d: R.new_ones(R.shape[1]) if theta_d is None else theta_d),),
        ),
        Mistake(
            "no gradient reaches theta_d, so nothing would be trained: you cut it off with detach, .data or no_grad.",
            (lambda theta0, R, theta_d: _with()(theta0, R, theta_d).detach(),),
        ),
        Mistake(
            "a gradient reaches R, so that P would be trained too: D·d numbers in place of d. Detach it.",
            (lambda theta0, R, theta_d: theta0 + _unit(R) @ _start(R, theta_d),),
        ),
        Mistake("you changed theta0 in place. The next step needs it as it was.", (_in_place,)),
    ),
)


# read_d90


def _run(start, full, curve):
    return {"start": start, "full": full, "curve": curve}


# Powers of two, so that a share is exact. In the first, the baselines of the two models give different answers.
_RUNS = {
    "pretrained": _run(4.0, 3.0, {10: 3.75, 100: 3.5, 1_000: 3.0625, 10_000: 3.015625, 100_000: 3.03125}),
    "random": _run(8.0, 6.0, {10: 7.5, 100: 6.125, 1_000: 6.0625, 10_000: 6.015625, 100_000: 6.03125}),
}
_UNSORTED = {
    "pretrained": _run(4.0, 2.0, {10_000: 2.0, 100: 3.5, 1_000: 2.125, 10: 3.75}),
    "random": _run(8.0, 6.0, {10_000: 6.0, 1_000: 7.25, 100: 7.5, 10: 7.75}),
}
_EXACT = {
    "pretrained": _run(10.0, 0.0, {10: 5.0, 100: 1.0, 1_000: 0.5}),
    "random": _run(10.0, 0.0, {10: 9.0, 100: 8.0, 1_000: 1.5}),
}


def _d90(runs, model, line=0.9, full=lambda runs, model: runs[model]["full"], pick=min, strict=False):
    """The right answer, and with the other arguments a wrong one. `pick` chooses among the d on or above the line."""
    run = runs[model]
    shares = {d: (run["start"] - loss) / (run["start"] - full(runs, model)) for d, loss in run["curve"].items()}
    reached = [d for d, share in shares.items() if share > line or (share == line and not strict)]
    return pick(reached) if reached else None


def _below(runs, model):
    run = runs[model]
    missed = [d for d, loss in run["curve"].items() if (run["start"] - loss) / (run["start"] - run["full"]) < 0.9]
    return max(missed, default=None)


READ_D90 = Exercise(
    name="read_d90",
    task="The intrinsic dimension d90 of a model's curve of held-out losses.",
    stub='''\
def read_d90(runs, model):
    """The smallest d measured that recovers at least 90% of full training's drop in loss;
    None if none does.

    runs: for each model, its loss before training ("start"), after training all
        parameters ("full"), and after training in d directions ("curve", in any order).
        For example, {"pretrained": {"start": 4.0, "full": 3.0, "curve": {100: 3.5}}}.
    model: the key in runs.
    """
    raise NotImplementedError
''',
    hint="share = (start - loss) / (start - full), all three of the same model. Take the least d whose share is ≥ 0.9.",
    solution="""\
def read_d90(runs, model):
    start, full, curve = (runs[model][key] for key in ("start", "full", "curve"))
    reached = [d for d, loss in curve.items() if (start - loss) / (start - full) >= 0.9]
    return min(reached, default=None)
""",
    praise="d90 is measured against the same model trained in full, and is as coarse as the grid of d.",
    reference=_d90,
    probes=(
        cases(lambda runs, model: f"for the {model} model of two", (_RUNS, "pretrained"), (_RUNS, "random")),
        cases(lambda runs, model: f"for the {model} model, d in no order", (_UNSORTED, "pretrained")),
        cases(lambda runs, model: f"for a {model} model that meets the line exactly", (_EXACT, "pretrained")),
        cases(lambda runs, model: f"for a {model} model that never meets the line", (_EXACT, "random")),
    ),
    mistakes=(
        Mistake("you gave the largest d below the line. d90 is the smallest on or above it.", (_below,)),
        Mistake(
            "you compared with another model. Each curve has its own start and its own full training.",
            (
                lambda runs, model: _d90(runs, model, full=lambda runs, _: runs["pretrained"]["full"]),
                lambda runs, model: _d90(runs, "pretrained"),
            ),
        ),
        Mistake(
            "you gave the largest d on the line. The smallest that reaches it is asked for.",
            (lambda runs, model: _d90(runs, model, pick=max),),
        ),
        Mistake(
            "you gave the d of the lowest loss. 90% of the fall is enough.",
            (
                lambda runs, model: min(runs[model]["curve"], key=runs[model]["curve"].get),
                lambda runs, model: _d90(runs, model, line=1),
            ),
        ),
        Mistake(
            "you compared losses, not falls: loss ≤ full / 0.9 or so. Loss has no zero to take a share from.",
            (
                lambda runs, model: min(
                    (d for d, loss in runs[model]["curve"].items() if loss * 0.9 <= runs[model]["full"]), default=None
                ),
                lambda runs, model: min(
                    (d for d, loss in runs[model]["curve"].items() if loss <= 0.9 * runs[model]["start"]), default=None
                ),
                lambda runs, model: min(
                    (d for d, loss in runs[model]["curve"].items() if loss <= 1.1 * runs[model]["full"]), default=None
                ),
            ),
        ),
        Mistake(
            "you took the d that comes first. The dictionary is in no order: take the least.",
            (lambda runs, model: _d90(runs, model, pick=lambda reached: reached[0]),),
        ),
        Mistake(
            "you left out a d that meets the line exactly. At least 90%: it counts.",
            (lambda runs, model: _d90(runs, model, strict=True),),
        ),
        Mistake(
            "you gave a d though none reaches the line. Then the runs give no d90: give None.",
            (
                lambda runs, model: _d90(runs, model) or max(runs[model]["curve"]),
                lambda runs, model: _d90(runs, model) or 0,
            ),
        ),
    ),
)

EXERCISES = (PROJECT_UP, READ_D90)
