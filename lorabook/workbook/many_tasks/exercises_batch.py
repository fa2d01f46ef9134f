"""Exercise: one batch in which every row has its own adapter."""

import torch

from lorabook.workbook.kit.engine import Exercise, Mistake, cases, drawn


def _adapter(r, alpha, seed, d=6, k=5):
    return drawn(r, k, seed=seed), drawn(d, r, seed=seed + 1), alpha


EQUAL = [_adapter(2, alpha, seed) for alpha, seed in ((4, 10), (1, 20), (3, 30))]
UNEQUAL = [_adapter(r, alpha, seed) for r, alpha, seed in ((1, 4, 10), (3, 1, 20), (2, 3, 30))]


def _case(adapters, ids, *shape):
    return drawn(len(ids), *shape, 5, seed=1), drawn(6, 5, seed=2), adapters, torch.tensor(ids)


def _mixed(row_update, base=lambda x, W: x @ W.T, rows=lambda ids: range(len(ids))):
    """An answer that goes row by row: `row_update(x, adapters, i, row)`, with the row's id i, is added to the base."""

    def answer(x, W, adapters, ids):
        ids = ids.tolist()
        return torch.stack([base(x[n], W) + row_update(x[n], adapters, ids[n], n) for n in rows(ids)])

    return answer


def _low_rank(x, A, B, alpha):
    return alpha / len(A) * (x @ A.T @ B.T)


def _own(x, adapters, i, n=None):
    return _low_rank(x, *adapters[i]) if i >= 0 else torch.tensor(0.0)


def _with(update):
    """The right answer with another update, a function of x, A, B, alpha and all adapters."""
    return _mixed(lambda x, adapters, i, n: update(x, *adapters[i], adapters) if i >= 0 else torch.tensor(0.0))


def _of_one(which):
    """One adapter for the whole batch: `which(ids)` is its number."""
    return lambda x, W, adapters, ids: x @ W.T + _low_rank(x, *adapters[which(ids.tolist())])


def _combined(combine):
    """All adapters for every row: `combine` of their updates."""
    return lambda x, W, adapters, ids: x @ W.T + combine(torch.stack([_low_rank(x, *a) for a in adapters]), 0)


def _pooled(x, W, adapters, ids):
    A, B, alpha = (sum(factor) / len(adapters) for factor in zip(*adapters))
    return x @ W.T + _low_rank(x, A, B, alpha)


def _piled_up(order):
    """Merges each adapter into W when its turn comes, and takes none out."""

    def answer(x, W, adapters, ids):
        h, merged = x @ W.T, set()
        for i in order(ids.tolist(), len(adapters)):
            merged.add(i)
            for n in (ids == i).nonzero().flatten().tolist():
                h[n] = x[n] @ W.T + sum(_own(x[n], adapters, j) for j in merged)
        return h

    return answer


MIXED_FORWARD = Exercise(
    name="mixed_forward",
    task="One batch in which every row has its own adapter.",
    stub='''\
def mixed_forward(x, W, adapters, ids):
    """h = W0 x + (alpha / r) B A x for every row of the batch, with the adapter of that row.

    x: (batch, ..., k). W: (d, k), shared by all. adapters: list of (A, B, alpha), whose ranks may differ.
    ids: (batch,) whole numbers: the place in `adapters` of each row's own, or -1 for a row that has none.
    Returns (batch, ..., d), rows in the order of x.
    """
    raise NotImplementedError
''',
    hint="W0 x is the same product for all rows. Then go through the adapters: `rows = ids == i` picks the rows of "
    "one, and h[rows] += ... writes back into their places.",
    solution="""\
def mixed_forward(x, W, adapters, ids):
    h = x @ W.T
    for i, (A, B, alpha) in enumerate(adapters):
        rows = ids == i
        h[rows] += (alpha / A.shape[0]) * (x[rows] @ A.T @ B.T)
    return h
""",
    praise="one dense product for all, and two thin ones for each task: merged weights could not do that.",
    reference=_mixed(_own),
    probes=(
        cases(
            lambda x, W, adapters, ids: f"for x of shape {tuple(x.shape)} and ids {ids.tolist()}",
            _case(EQUAL, [2, 0, 1, 2, 0], 2),
            _case(EQUAL, [1, 1, 2]),
        ),
        cases(
            lambda x, W, adapters, ids: f"for x of shape {tuple(x.shape)}, ids {ids.tolist()} and ranks 1, 3, 2",
            _case(UNEQUAL, [0, -1, 1, -1, 2], 3),
        ),
    ),
    mistakes=(
        Mistake(
            "you took one adapter for the whole batch. Every row has its own: ids tells which.",
            (_of_one(lambda ids: 0), _of_one(lambda ids: ids[0]), _of_one(lambda ids: ids[-1])),
        ),
        Mistake(
            "you took the mean of the adapters. Every row has one of its own.",
            (_combined(torch.mean), _pooled),
        ),
        Mistake("you added all adapters to every row. Each row has one.", (_combined(torch.sum),)),
        Mistake(
            "you went by the row's number. Its adapter is adapters[ids[row]].",
            (_mixed(lambda x, adapters, i, n: _own(x, adapters, n % len(adapters))),),
        ),
        Mistake(
            "you left the scaling out. Each update counts α/r times.",
            (_with(lambda x, A, B, alpha, _: x @ A.T @ B.T),),
        ),
        Mistake(
            "you multiplied by α, not α/r.",
            (_with(lambda x, A, B, alpha, _: alpha * (x @ A.T @ B.T)),),
        ),
        Mistake(
            "you gave all adapters the first one's scaling. Each has an α and an r of its own.",
            (_with(lambda x, A, B, alpha, every: every[0][2] / len(every[0][0]) * (x @ A.T @ B.T)),),
        ),
        Mistake(
            "your rows come back in the order of the adapters. Write each into the place it came from.",
            (_mixed(_own, rows=lambda ids: sorted(range(len(ids)), key=ids.__getitem__)),),
        ),
        Mistake(
            "you gave the updates alone. Each is added to W0 x.",
            (_mixed(_own, base=lambda x, W: torch.zeros(*x.shape[:-1], len(W))),),
        ),
        Mistake(
            "you added W0 x once for every adapter. It is the same for all, and counts once.",
            (lambda x, W, adapters, ids: _mixed(_own)(x, W, adapters, ids) + (len(adapters) - 1) * (x @ W.T),),
        ),
        Mistake(
            "your adapters pile up in W: each is merged on top of those before. Leave W as it is.",
            (_piled_up(lambda ids, n: range(n)), _piled_up(lambda ids, n: [i for i in ids if i >= 0])),
        ),
        Mistake(
            "you took adapter 0 for none. -1 is none.",
            (
                _mixed(lambda x, adapters, i, n: _own(x, adapters, i or -1)),
                _mixed(lambda x, adapters, i, n: _own(x, adapters, i if i > 0 else -1)),
            ),
        ),
        Mistake(
            "you gave rows without an adapter the last one: in Python, adapters[-1] is the last.",
            (_mixed(lambda x, adapters, i, n: _low_rank(x, *adapters[i])),),
        ),
        Mistake(
            "rows without an adapter are zero. They still have W0 x.",
            (lambda x, W, adapters, ids: _mixed(_own)(x, W, adapters, ids) * (ids >= 0).view(-1, *[1] * (x.ndim - 1)),),
        ),
        Mistake(
            "you dropped the rows without an adapter. Each row of x has a row in the output.",
            (_mixed(_own, rows=lambda ids: [n for n, i in enumerate(ids) if i >= 0]),),
        ),
    ),
)

EXERCISES = (MIXED_FORWARD,)
