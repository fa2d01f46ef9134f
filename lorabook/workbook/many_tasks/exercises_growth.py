"""Exercise: an adapter of a larger rank that computes the same and can be trained."""

import math

import torch

from lorabook.workbook.kit.engine import Exercise, Mistake, attempt, drawn

SIZES, OTHER_SIZES = (9, 10, 4, 8, 8), (12, 6, 2, 5, 3)  # d, k, r, new_r, alpha


def _grown(answer, d, k, r, new_r, alpha):
    """A, B and what the answer makes of them."""
    A, B = drawn(r, k, seed=1), drawn(d, r, seed=2)
    return A, B, attempt(answer, A, B, alpha, new_r)


def _label(d, k, r, new_r, alpha):
    return f"for d = {d}, k = {k}, α = {alpha}, r = {r} and new_r = {new_r}"


def _shapes(answer, sizes=SIZES):
    _, _, grown = _grown(answer, *sizes)
    if isinstance(grown, (tuple, list)) and len(grown) == 3:
        grown = " and ".join(str(tuple(getattr(factor, "shape", ()))) for factor in grown[:2])
    return {f"{_label(*sizes)}, the shapes of A and B": grown}


def _place(old, new):
    """Where the rows of `old` are among those of `new`."""
    return {"first": torch.equal(new[: len(old)], old), "last": torch.equal(new[-len(old) :], old)}


def _product(answer):
    """Whether B A is a multiple of what it was, and if not, where the old rows and columns are."""
    A, B, (new_A, new_B, _) = _grown(answer, *SIZES)
    old, new = B @ A, new_B @ new_A
    rest = new - (new * old).sum() / old.square().sum() * old
    same = bool(rest.norm() <= 1e-4 * old.norm())
    what = {"the new rows of A and columns of B add nothing to B A": same}
    return what if same else what | {"A": _place(A, new_A), "B": _place(B.T, new_B.T)}


def _update(answer, sizes=SIZES):
    _, _, (A, B, alpha) = _grown(answer, *sizes)
    return {f"{_label(*sizes)}, the update (α/r) B A": alpha / sizes[3] * (B @ A)}


def _training(answer):
    """Five steps towards an update of full rank."""
    d, k, _, new_r, _ = SIZES
    _, _, (*factors, alpha) = _grown(answer, *SIZES)
    A, B = (factor.detach().double().requires_grad_() for factor in factors)
    target, reached = drawn(d, k, seed=7, dtype=torch.float64), torch.zeros(new_r, dtype=torch.bool)
    for _ in range(5):
        loss = (alpha / new_r * (B @ A) - target).square().sum()
        dA, dB = torch.autograd.grad(loss, (A, B))
        reached |= (dA != 0).any(1) | (dB != 0).any(0)
        A.data -= 1e-3 * dA
        B.data -= 1e-3 * dB
    S = torch.linalg.svdvals((B @ A).detach())
    return {
        "a gradient reaches every row of A or its column of B": bool(reached.all()),
        "training gives the update the rank new_r": int((S / S[0] > 1e-13).sum()) == new_r,
    }


def _elsewhere(answer):
    """With a new_r that is not twice r."""
    return _shapes(answer, OTHER_SIZES) | _update(answer, OTHER_SIZES)


def _rows(n, k):
    """New rows of A, drawn as LoRA draws them."""
    return torch.empty(n, k).uniform_(-1 / math.sqrt(k), 1 / math.sqrt(k))


def _grow(rows=_rows, columns=torch.zeros, alpha=lambda alpha, r, new_r: alpha * new_r / r, **changes):
    """A right answer whose decisions can be changed one at a time. add: how many rows; A, B: how they are joined."""
    add, scale = changes.get("add", lambda r, new_r: new_r - r), changes.get("scale", 1)
    join_A, join_B = changes.get("A", torch.vstack), changes.get("B", torch.hstack)

    def answer(A, B, old_alpha, new_r):
        r, n = len(A), add(len(A), new_r)
        new_rows, new_columns = rows(n, A.shape[1]), columns(len(B), n)
        return join_A((A, new_rows)), join_B((scale * B, new_columns)), alpha(old_alpha, r, new_r)

    return answer


def _copied(scale, alpha):
    """Old rows and columns over again, those of B times `scale`."""
    return lambda A, B, old, new_r: (torch.vstack((A, A)), scale * torch.hstack((B, B)), alpha(old, len(A), new_r))


def _kept(alpha, r, new_r):
    return alpha


def _anew(columns):
    """An answer that forgets what A and B are."""
    return lambda A, B, alpha, new_r: (_rows(new_r, A.shape[1]), columns(len(B), new_r), alpha * new_r / len(A))


def _behind(pair):
    return torch.vstack(pair[::-1])


def _swapped(A, B, alpha, new_r):
    A, B, alpha = _grow()(A, B, alpha, new_r)
    return B, A, alpha


GROW_RANK = Exercise(
    name="grow_rank",
    task="An adapter of a larger rank that computes the same and can be trained.",
    stub='''\
import torch


def grow_rank(A, B, alpha, new_r):
    """(A, B, alpha) of rank new_r > r whose update (alpha / r) B A is what it was, and whose rank training can use.

    A: (r, k) -> (new_r, k). B: (d, r) -> (d, new_r).
    """
    raise NotImplementedError
''',
    hint="How does LoRA itself start, with an update of zero that can be trained? Do that with the new rows and "
    "columns, keep the old ones, and look at what becomes of α/r.",
    solution="""\
import math

import torch


def grow_rank(A, B, alpha, new_r):
    (r, k), (d, _) = A.shape, B.shape
    rows = torch.empty(new_r - r, k).uniform_(-1 / math.sqrt(k), 1 / math.sqrt(k))
    columns = torch.zeros(d, new_r - r)
    return torch.cat([A, rows]), torch.cat([B, columns], dim=1), alpha * new_r / r
""",
    praise="one side random, the other zero, as at LoRA's own start, and α in step with r.",
    reference=_grow(),
    probes=(_shapes, _product, _update, _training, _elsewhere),
    mistakes=(
        Mistake(
            "your new rows of A and columns of B are both zero. Each one's gradient is a product with the other, so "
            "they stay zero: dead. One side must not be.",
            (_grow(torch.zeros),),
        ),
        Mistake(
            "you kept α, so the scaling α/r fell as r grew, and the update with it.",
            (_grow(alpha=_kept),),
        ),
        Mistake(
            "the new rows of A and columns of B are both random, so they change the output. One side must be zero.",
            (_grow(columns=torch.randn),),
        ),
        Mistake(
            "your new rows are copies, of the old ones or of each other. Copies get the same gradient and stay copies: "
            "the rank does not grow.",
            (_copied(1, _kept), _copied(0.5, lambda a, r, n: a * n / r), _grow(torch.ones)),
        ),
        Mistake(
            "you started anew. What the adapter had learned is gone: keep the old rows and columns.",
            (_anew(torch.zeros), _anew(torch.randn)),
        ),
        Mistake(
            "you drew all of A anew. B's old columns belong to A's old rows.",
            (_grow(A=lambda pair: _rows(sum(map(len, pair)), pair[0].shape[1])),),
        ),
        Mistake(
            "your new rows of A and columns of B stand at different ends. B's first column goes with A's first row.",
            (_grow(A=_behind), _grow(B=lambda pair: torch.hstack(pair[::-1]))),
        ),
        Mistake(
            "you turned the ratio round. A larger r divides by more: α grows by new_r / r.",
            (_grow(alpha=lambda alpha, r, new_r: alpha * r / new_r),),
        ),
        Mistake(
            "you let α grow as the root of r, which is rsLoRA's rule. Here the scaling is α/r.",
            (_grow(alpha=lambda alpha, r, new_r: alpha * math.sqrt(new_r / r)),),
        ),
        Mistake(
            "you gave the scaling in place of α.",
            (_grow(alpha=lambda alpha, r, new_r: alpha / r), _grow(alpha=lambda alpha, r, new_r: alpha / new_r)),
        ),
        Mistake(
            "you made up for the scaling twice, in α and in the factors.",
            (_grow(scale=2), _copied(1, lambda a, r, n: a * n / r)),
        ),
        Mistake(
            "you added new_r rows and columns. r are there already: new_r - r are missing.",
            (_grow(add=lambda r, new_r: new_r),),
        ),
        Mistake(
            "you grew the wrong side. A grows by rows, (r, k) to (new_r, k), and B by columns.",
            (
                _grow(A=lambda pair: torch.hstack((pair[0], torch.zeros(len(pair[0]), 4)))),
                _grow(B=lambda pair: torch.vstack((pair[0], torch.zeros(4, pair[0].shape[1])))),
            ),
        ),
        Mistake("you gave B first. The order is A, B, alpha.", (_swapped,)),
        Mistake(
            "you doubled r. new_r may be any rank above r.",
            (_grow(add=lambda r, new_r: r), _grow(add=lambda r, new_r: r, alpha=lambda alpha, r, new_r: 2 * alpha)),
        ),
        Mistake(
            "you doubled α. new_r need not be 2r: α grows by new_r / r.",
            (_grow(alpha=lambda alpha, r, new_r: 2 * alpha),),
        ),
    ),
)

EXERCISES = (GROW_RANK,)
