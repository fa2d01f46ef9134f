"""The exercises of notebook 07: swapped and mixed LoRA adapters."""

import torch

from lorabook.workbook.kit.exercise import Exercise, Mistake, cases, drawn

# swap_merged


def _adapter(d, k, r, alpha, seed):
    return drawn(r, k, seed=seed), drawn(d, r, seed=seed + 1), alpha


def _delta(A, B, alpha):
    return alpha / len(A) * (B @ A)


def _swapped(d, k, r, new_r):
    """A probe of the weight after a swap in fp32."""

    def probe(answer):
        W0, old, new = drawn(d, k), _adapter(d, k, r, 2, seed=1), _adapter(d, k, new_r, 3, seed=3)
        weight = W0 + _delta(*old)
        answer(weight, W0.clone(), old, new)
        return {f"for a weight of shape {(d, k)}, r = {r}, α = 2, then r = {new_r}, α = 3, the weight": weight}

    return probe


def _after(W0, old, new):
    """The weight in fp16 after a swap, where each of the three is one number and r = α = 1."""

    def probe(answer):
        weight, kept = torch.tensor([[W0 + old]]).half(), torch.tensor([[W0]]).half()
        answer(weight, kept, *((torch.tensor([[1.0]]), torch.tensor([[u]]), 1) for u in (old, new)))
        return {f"for W0 = {W0:g} in float16 and an update of {new:g} in place of {old:g}, the weight": weight.item()}

    return probe


def _leaves(answer):
    """Twice, there and back; A and B are parameters, as in a model."""
    W0, old, new = drawn(4, 3), _adapter(4, 3, 2, 4, seed=1), _adapter(4, 3, 2, 4, seed=3)
    for factor in (*old[:2], *new[:2]):
        factor.requires_grad_()
    kept, weight = W0.clone(), (W0 + _delta(*old)).detach()
    answer(weight, kept, old, new)
    answer(weight, kept, new, old)
    return {
        "kept is left as it was": torch.equal(kept, W0),
        "the weight asks for no gradient": not weight.requires_grad,
    }


def _writes(value):
    """An answer that writes `value(weight, kept, old, new)` into weight; old and new are the updates."""

    def answer(weight, kept, old, new):
        with torch.no_grad():
            weight.copy_(value(weight, kept, _delta(*old), _delta(*new)))

    return answer


def _scaled(scaling):
    """The right answer with another scaling of the new update, a function of old and new."""

    def answer(weight, kept, old, new):
        A, B, _ = new
        with torch.no_grad():
            weight.copy_(kept + scaling(old, new) * (B @ A))

    return answer


def _product(product):
    """The right answer with another product of A and B."""

    def answer(weight, kept, old, new):
        A, B, alpha = new
        with torch.no_grad():
            weight.copy_(kept + alpha / len(A) * product(A, B))

    return answer


def _into_kept(weight, kept, old, new):
    kept += _delta(*new)
    weight.copy_(kept)


def _recorded(weight, kept, old, new):
    weight.copy_(kept + _delta(*new))


SWAP_MERGED = Exercise(
    name="swap_merged",
    task="Another adapter in place of the one that is merged.",
    stub='''\
import torch


def swap_merged(weight, kept, old, new):
    """Replace the merged adapter `old` with the adapter `new`.

    weight: (d, k), maybe fp16. It holds W0 with `old` merged into it. Afterwards it
        holds W0 + (alpha / r) B A of `new`. The model uses this very tensor, so write
        into it and return nothing.
    kept: a copy of W0 in weight's dtype.
    old, new: (A, B, alpha) with A (r, k) and B (d, r), parameters in fp32.

    After a hundred swaps, weight must equal a single merge into W0, summed in fp32 and
    rounded once, bit for bit.
    """
    raise NotImplementedError
''',
    hint="weight.copy_(...) writes in place and rounds to weight's dtype. Start from what no swap has rounded, and let "
    "autograd see nothing of it.",
    solution="""\
import torch


@torch.no_grad()
def swap_merged(weight, kept, old, new):
    A, B, alpha = new
    weight.copy_(kept + (alpha / A.shape[0]) * (B @ A))
""",
    praise="from the kept copy, rounded once and in place: a hundred swaps leave no trace.",
    reference=_writes(lambda weight, kept, old, new: kept + new),
    probes=(_swapped(4, 4, 4, 4), _swapped(6, 5, 2, 3), _after(1.0, 2048.0, 1.0), _after(2048.0, 0.0, 1.0003), _leaves),
    mistakes=(
        Mistake(
            "you put the new adapter on top of the old one. The old update has to go first.",
            (
                _writes(lambda weight, kept, old, new: weight + new),
                _writes(lambda weight, kept, old, new: kept + old + new),
            ),
        ),
        Mistake(
            "you took the old adapter out and put none in.",
            (_writes(lambda weight, kept, old, new: kept), _writes(lambda weight, kept, old, new: weight - old)),
        ),
        Mistake(
            "the weight is as it was. You made a new one, another copy of the base, and the model still has the old: "
            "write in place, with weight.copy_.",
            (lambda weight, kept, old, new: kept + _delta(*new),),
        ),
        Mistake(
            "you subtracted the old update. What fp16 rounded away does not come back: start from kept.",
            (
                _writes(lambda weight, kept, old, new: weight - old + new),
                _writes(lambda weight, kept, old, new: (weight - old).to(weight.dtype) + new),
            ),
        ),
        Mistake(
            "you changed kept. It is the only exact W0 there is, and the next swap starts from it.",
            (_into_kept, torch.no_grad()(_into_kept)),
        ),
        Mistake("you left the scaling out. The update is (α/r) BA.", (_scaled(lambda old, new: 1),)),
        Mistake("you multiplied by α, not α/r.", (_scaled(lambda old, new: new[2]),)),
        Mistake(
            "you scaled the new adapter as the old one. Each has an α and an r of its own.",
            (
                _scaled(lambda old, new: old[2] / len(old[0])),
                _scaled(lambda old, new: old[2] / len(new[0])),
                _scaled(lambda old, new: new[2] / len(old[0])),
            ),
        ),
        Mistake("you formed AB. The update is BA: (d, r) times (r, k).", (_product(lambda A, B: A @ B),)),
        Mistake("your update is transposed. BA already has the weight's shape.", (_product(lambda A, B: (B @ A).T),)),
        Mistake(
            "you subtracted the new update. Merging adds it.", (_writes(lambda weight, kept, old, new: kept - new),)
        ),
        Mistake("you wrote the update alone. It is added to W0.", (_writes(lambda weight, kept, old, new: new),)),
        Mistake(
            "you rounded the update before adding it. Form the sum in fp32 and round once.",
            (_writes(lambda weight, kept, old, new: kept + new.to(kept.dtype)),),
        ),
        Mistake(
            "autograd recorded your swap: the frozen weight now has a history and asks for a gradient. Use "
            "torch.no_grad, or detached A and B.",
            (_recorded,),
        ),
    ),
)


# mixed_forward


def _small_adapter(r, alpha, seed, d=6, k=5):
    return drawn(r, k, seed=seed), drawn(d, r, seed=seed + 1), alpha


EQUAL = [_small_adapter(2, alpha, seed) for alpha, seed in ((4, 10), (1, 20), (3, 30))]
UNEQUAL = [_small_adapter(r, alpha, seed) for r, alpha, seed in ((1, 4, 10), (3, 1, 20), (2, 3, 30))]


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
    """h = W0 x + (alpha / r) B A x for every row of the batch, with that row's adapter.

    x: (batch, ..., k). W: (d, k), shared by all.
    adapters: list of (A, B, alpha), whose ranks may differ.
    ids: (batch,) integers. ids[i] is the index of row i's adapter in `adapters`, or -1
        for none.
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
        Mistake("you took the mean of the adapters. Every row has one of its own.", (_combined(torch.mean), _pooled)),
        Mistake("you added all adapters to every row. Each row has one.", (_combined(torch.sum),)),
        Mistake(
            "you went by the row's number. Its adapter is adapters[ids[row]].",
            (_mixed(lambda x, adapters, i, n: _own(x, adapters, n % len(adapters))),),
        ),
        Mistake(
            "you left the scaling out. Each update counts α/r times.", (_with(lambda x, A, B, alpha, _: x @ A.T @ B.T),)
        ),
        Mistake("you multiplied by α, not α/r.", (_with(lambda x, A, B, alpha, _: alpha * (x @ A.T @ B.T)),)),
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


EXERCISES = (SWAP_MERGED, MIXED_FORWARD)
