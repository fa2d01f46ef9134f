"""Exercises: the forward pass of a linear layer with LoRA, and merging the update into the weight."""

import math

import torch
import torch.nn.functional as F

from lorabook.workbook.kit.engine import Exercise, Mistake, cases, drawn


def _layer(d, k, r, dtype=torch.float32, seed=0):
    """W (d, k), A (r, k), B (d, r)."""
    return tuple(drawn(*shape, seed=seed + i, dtype=dtype) for i, shape in enumerate(((d, k), (r, k), (d, r))))


def _scaled(scaling):
    """The right answer with another scaling: a function of alpha, A and B."""
    return lambda x, W, A, B, alpha, p, training: x @ W.T + scaling(alpha, A, B) * (x @ A.T @ B.T)


def _dropped(forward):
    """The right answer with dropout elsewhere: `forward(x, base, low, up, drop)`, low applies A, up applies (α/r) B."""

    def answer(x, W, A, B, alpha, p, training):
        def drop(t, on=training):
            return F.dropout(t, p, on)

        return forward(x, lambda t: t @ W.T, lambda t: t @ A.T, lambda t: alpha / len(A) * t @ B.T, drop)

    return answer


def _gradients(answer):
    x, (W, A, B) = drawn(3, 4, seed=9), _layer(5, 4, 2)
    A.requires_grad_()
    B.requires_grad_()
    answer(x, W, A, B, 4, 0.0, True).square().sum().backward()
    return {"a gradient reaches A": A.grad is not None, "a gradient reaches B": B.grad is not None}


def _evaluation(answer):
    x, (W, A, B) = drawn(3, 4, seed=9), _layer(5, 4, 2)
    plain, careless = (answer(x, W, A, B, 4, p, False) for p in (0.0, 0.5))
    return {"with training = False nothing is dropped, whatever p is": torch.equal(plain, careless)}


def _training(answer):
    """With p = 0.5. One row of x is eight ones; the first output sees W alone, the two others the update alone, which
    is the sum of those powers of two whose element was kept."""
    x, W, A, B = torch.ones(256, 8), torch.zeros(3, 8), 2.0 ** torch.arange(8)[None], torch.tensor([[0.0], [1], [1]])
    W[0] = 1
    base, first, second = answer(x, W, A, B, 1, 0.5, True).T
    return {
        "in training W0 sees x as it is, with nothing dropped": bool((base == 8).all()),
        "in training dropout changes the update": len(first.unique()) > 1,
        "in training single elements of x are dropped before A": len(first.unique()) > 2,
        "in training nothing is dropped after B": torch.equal(first, second),
        "in training what is kept is divided by 1 - p, so that the mean stays": 195 < first.mean() < 315,
    }


LORA_FORWARD = Exercise(
    name="lora_forward",
    task="The forward pass of a linear layer with LoRA.",
    stub='''\
import torch.nn.functional as F


def lora_forward(x, W, A, B, alpha, p, training):
    """h = W0 x + (alpha / r) B A dropout(x), for every row of x.

    x: (..., k). W: (d, k), frozen. A: (r, k). B: (d, r). Returns (..., d).
    p: dropout probability of x on its way into A. training: whether dropout is on.
    """
    raise NotImplementedError
''',
    hint="A row of x goes through a weight as x @ W.T. r is a length of A. F.dropout takes p and training.",
    solution="""\
import torch.nn.functional as F


def lora_forward(x, W, A, B, alpha, p, training):
    r = A.shape[0]
    z = F.dropout(x, p, training) @ A.T
    return x @ W.T + (alpha / r) * (z @ B.T)
""",
    praise="W0 x + (α/r) B A x, dropout on the way into A only. If x goes through A first, BA is never formed.",
    reference=_dropped(lambda x, base, low, up, drop: base(x) + up(low(drop(x)))),
    probes=(
        cases(  # all of one size, so that a wrong order gives wrong numbers, and not errors
            lambda x, W, *_: f"for x of shape {tuple(x.shape)}, W {tuple(W.shape)}, r = 4 and α = 3",
            (drawn(3, 4, seed=5), *_layer(4, 4, 4), 3, 0.0, False),
        ),
        cases(
            lambda x, W, A, B, alpha, *_: (
                f"for x of shape {tuple(x.shape)} in {str(x.dtype).removeprefix('torch.')}, "
                f"W {tuple(W.shape)}, r = {len(A)} and α = {alpha}"
            ),
            (drawn(3, 8, seed=6), *_layer(6, 8, 2), 8, 0.0, False),
            (drawn(2, 3, 5, seed=7, dtype=torch.float64), *_layer(7, 5, 3, torch.float64), 1, 0.0, True),
            (drawn(2, 6, seed=8), *_layer(6, 6, 4), 4, 0.0, True),
        ),
        _gradients,
        _evaluation,
        _training,
    ),
    mistakes=(
        Mistake(
            "you multiplied by α, not α/r. The division reduces the need to tune again at another rank.",
            (_scaled(lambda alpha, A, B: alpha),),
        ),
        Mistake("you left the scaling out. The update counts α/r times.", (_scaled(lambda alpha, A, B: 1),)),
        Mistake("you turned the scaling round: it is α/r, not r/α.", (_scaled(lambda alpha, A, B: len(A) / alpha),)),
        Mistake(
            "you scaled by α/√r, which is rsLoRA. LoRA's own scaling is α/r.",
            (_scaled(lambda alpha, A, B: alpha / math.sqrt(len(A))),),
        ),
        Mistake(
            "you scaled twice: α/r stands once in front of BA.",
            (_scaled(lambda alpha, A, B: (alpha / len(A)) ** 2),),
        ),
        Mistake(
            "you read r off the wrong side. A is (r, k) and B is (d, r).",
            (_scaled(lambda alpha, A, B: alpha / A.shape[1]), _scaled(lambda alpha, A, B: alpha / B.shape[0])),
        ),
        Mistake(
            "you swapped A and B. x meets A first, which takes k numbers to r, and then B, which takes r to d.",
            (
                lambda x, W, A, B, alpha, p, training: x @ W.T + alpha / len(A) * (x @ B @ A),
                lambda x, W, A, B, alpha, p, training: x @ W.T + alpha / len(A) * (x @ B.T @ A.T),
            ),
        ),
        Mistake(
            "you forgot to transpose. Weights are stored (outputs, inputs), so a row of x passes as x @ W.T.",
            (
                lambda x, W, A, B, alpha, p, training: x @ W + alpha / len(A) * (x @ A.T @ B.T),
                lambda x, W, A, B, alpha, p, training: x @ W.T + alpha / len(A) * (x @ A @ B),
                lambda x, W, A, B, alpha, p, training: x @ W + alpha / len(A) * (x @ A @ B),
            ),
        ),
        Mistake(
            "you gave the update alone. It is added to W0 x.",
            (lambda x, W, A, B, alpha, p, training: alpha / len(A) * (x @ A.T @ B.T),),
        ),
        Mistake(
            "no gradient reaches A and B, so nothing would be trained: you cut it off with detach, .data or no_grad.",
            tuple(
                lambda x, W, A, B, alpha, p, training, cut=cut: (
                    x @ W.T
                    + alpha / len(A) * (x @ (A.detach() if "A" in cut else A).T @ (B.detach() if "B" in cut else B).T)
                )
                for cut in ("A", "B", "AB")
            ),
        ),
        Mistake(
            "your dropout is on in evaluation too. Hand `training` on to it.",
            (_dropped(lambda x, base, low, up, drop: base(x) + up(low(drop(x, True)))),),
        ),
        Mistake(
            "your dropout falls on the output. It belongs on x, on its way into A.",
            (
                _dropped(lambda x, base, low, up, drop: drop(base(x) + up(low(x)))),
                _dropped(lambda x, base, low, up, drop: base(x) + drop(up(low(x)))),
            ),
        ),
        Mistake(
            "your dropout falls on A x. It belongs on x, before A.",
            (_dropped(lambda x, base, low, up, drop: base(x) + up(drop(low(x)))),),
        ),
        Mistake(
            "your dropout falls on the frozen path too. W0 sees x as it is.",
            (_dropped(lambda x, base, low, up, drop: (lambda t: base(t) + up(low(t)))(drop(x))),),
        ),
        Mistake(
            "you apply no dropout in training.",
            (_dropped(lambda x, base, low, up, drop: base(x) + up(low(x))),),
        ),
    ),
)


def _merged(change):
    """An answer that changes W by `change(W, scaled B A)` where it is not merged yet."""
    return lambda W, A, B, alpha, merged: W if merged else change(W, alpha / len(A) * (B @ A))


def _merge_by(update):
    """An answer that adds another update, a function of A, B and alpha."""
    return lambda W, A, B, alpha, merged: W if merged else (W + update(A, B, alpha)).to(W.dtype)


def _in_place(W, update):
    W += update
    return W


def _keeps_base(answer):
    W, A, B = _layer(4, 3, 2)
    before = W.clone()
    answer(W, A, B, 4, False)
    return {"W itself is left as it was": torch.equal(W, before)}


LORA_MERGE = Exercise(
    name="lora_merge",
    task="The weight that includes the update.",
    stub='''\
def lora_merge(W, A, B, alpha, merged):
    """The weight with (alpha / r) B A in it, as a new tensor of W's shape and dtype.

    W: (d, k), maybe fp16. A: (r, k) and B: (d, r), fp32. merged: whether W includes the update already.
    The sum is formed in fp32 and rounded to W's dtype once.
    """
    raise NotImplementedError
''',
    hint="What has shape (d, k): AB or BA? fp16 + fp32 is formed in fp32. And what is to happen if `merged` is true?",
    solution="""\
def lora_merge(W, A, B, alpha, merged):
    if merged:
        return W
    return (W + (alpha / A.shape[0]) * (B @ A)).to(W.dtype)
""",
    praise="W0 + (α/r) BA, once. From here on inference costs what the base costs.",
    reference=_merge_by(lambda A, B, alpha: alpha / len(A) * (B @ A)),
    probes=(
        cases(lambda *_: "for W (4, 4), r = 4 and α = 3", (*_layer(4, 4, 4), 3, False)),
        cases(
            lambda W, A, B, alpha, _: f"for W {tuple(W.shape)}, r = {len(A)} and α = {alpha}",
            (*_layer(6, 8, 2), 8, False),
            (*_layer(5, 5, 3, torch.float64), 1, False),
        ),
        cases(lambda W, *_: f"for W {tuple(W.shape)} that includes the update already", (*_layer(6, 8, 2), 8, True)),
        # fp16 has 2048 and 2050, and nothing between: 2048 + 1.0003 is 2050, but 1.0003 alone is 1, and 2049 is 2048
        cases(
            lambda *_: "for W = 2048 in float16 and an update of 1.0003",
            (torch.tensor([[2048.0]]).half(), torch.tensor([[1.0]]), torch.tensor([[1.0003]]), 1, False),
        ),
        _keeps_base,
    ),
    mistakes=(
        Mistake("you subtracted the update. Merging adds it; unmerging takes it out.", (_merged(lambda W, u: W - u),)),
        Mistake(
            "you formed AB. The update is BA: (d, r) times (r, k) gives W's (d, k).",
            (_merge_by(lambda A, B, alpha: alpha / len(A) * (A @ B)),),
        ),
        Mistake(
            "your product is transposed. BA already has W's shape (d, k).",
            (_merge_by(lambda A, B, alpha: alpha / len(A) * (B @ A).T),),
        ),
        Mistake("you left the scaling out. The update is (α/r) BA.", (_merge_by(lambda A, B, alpha: B @ A),)),
        Mistake("you multiplied by α, not α/r, as in training.", (_merge_by(lambda A, B, alpha: alpha * (B @ A)),)),
        Mistake("you scaled twice: (α/r) BA.", (_merge_by(lambda A, B, alpha: (alpha / len(A)) ** 2 * (B @ A)),)),
        Mistake("you gave the update alone. It is added to W.", (_merged(lambda W, u: u),)),
        Mistake(
            "you merged twice. Where `merged` is true, W includes the update and stays as it is.",
            (lambda W, A, B, alpha, merged: (W + alpha / len(A) * (B @ A)).to(W.dtype),),
        ),
        Mistake(
            "you took the update out where W was merged already. It is to stay merged.",
            (lambda W, A, B, alpha, merged: W - (1 if merged else -1) * alpha / len(A) * (B @ A),),
        ),
        Mistake(
            "you rounded the update before adding it. Form the sum in fp32 and round once.",
            (_merged(lambda W, u: W + u.to(W.dtype)), _merged(lambda W, u: W.clone().add_(u.to(W.dtype)))),
        ),
        Mistake("you left the sum in fp32. Give it W's dtype.", (_merged(lambda W, u: W + u),)),
        Mistake(
            "you changed W in place. Without the original, nobody can unmerge exactly.",
            (_merged(_in_place), _merged(lambda W, u: W.copy_(W + u))),
        ),
    ),
)

EXERCISES = (LORA_FORWARD, LORA_MERGE)
