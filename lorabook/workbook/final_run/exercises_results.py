"""Exercises: the perplexity of a held-out set, and whether a run trained what it should."""

import math
from functools import partial

import torch

from lorabook.training.evaluate import HeldOut
from lorabook.workbook.kit.engine import Exercise, Mistake, attempt, cases, drawn


def _perplexity(losses, tokens):
    total = sum(loss * n for loss, n in zip(losses, tokens))
    return HeldOut(total / sum(tokens), sum(tokens), len(tokens)).perplexity


def _weighted(value, losses, tokens):
    return sum(value(loss) * n for loss, n in zip(losses, tokens)) / sum(tokens)


def _mean(losses):
    return sum(losses) / len(losses)


PERPLEXITY = Exercise(
    name="perplexity",
    task="The perplexity of a held-out set that was measured in batches.",
    stub='''\
import math


def perplexity(losses, tokens):
    """exp of the mean loss of all label tokens.

    losses: mean loss of each batch, in nats per label token. tokens: how many label tokens each batch has.
    """
    raise NotImplementedError
''',
    hint="First the mean over tokens: a batch with ten times the tokens counts ten times. Then one exp.",
    solution="""\
import math


def perplexity(losses, tokens):
    total = sum(loss * n for loss, n in zip(losses, tokens))
    return math.exp(total / sum(tokens))
""",
    praise="one mean over all tokens, then exp: the perplexity does not depend on how you cut the batches.",
    reference=_perplexity,
    probes=(
        cases(
            lambda losses, tokens: f"for losses {losses} over {tokens} tokens",
            ([2.0, 4.0], [300, 100]),
            ([3.1, 2.4, 2.9], [40, 400, 7]),
            ([1.5], [10]),
        ),
    ),
    mistakes=(
        Mistake(
            "you averaged the exps. Perplexity is the exp of the mean loss; the mean of exps is larger.",
            (
                lambda losses, tokens: _mean(list(map(math.exp, losses))),
                lambda losses, tokens: _weighted(math.exp, losses, tokens),
            ),
        ),
        Mistake(
            "you took 2 to the power of the loss. The loss is in nats, so its base is e.",
            (lambda losses, tokens: 2 ** _weighted(float, losses, tokens), lambda losses, tokens: 2 ** _mean(losses)),
        ),
        Mistake(
            "you took a mean of means. Batches with more tokens weigh more: add up the losses of all tokens first.",
            (lambda losses, tokens: math.exp(_mean(losses)),),
        ),
        Mistake(
            "you gave the mean loss. Perplexity is its exp.",
            (lambda losses, tokens: _weighted(float, losses, tokens), lambda losses, tokens: _mean(losses)),
        ),
        Mistake(
            "you divided by the tokens without multiplying by them: each loss is a mean, and times its tokens a sum.",
            (lambda losses, tokens: math.exp(sum(losses) / sum(tokens)),),
        ),
        Mistake(
            "you lost the sign: exp(-loss) is a mean of the tokens' probabilities. Perplexity is its inverse.",
            (lambda losses, tokens: math.exp(-_weighted(float, losses, tokens)),),
        ),
        Mistake(
            "you took the exp of a sum. Divide by the number of tokens first.",
            (lambda losses, tokens: math.exp(sum(losses)),),
        ),
    ),
)

LAYERS = ("c_attn", "c_fc")
ZERO_B = torch.zeros(4, 2, device="cpu")
NUDGED = drawn(4, 3, seed=0) * (1 + 1e-6)  # the base of c_attn, changed in its last digits


def _state(loss, base=0, A=0, B=None, **changes):
    """The state of two adapted layers. base, A, B: seeds; B None is zero. `changes` replaces single tensors."""
    state: dict = {"loss": loss}
    for i, layer in enumerate(LAYERS):
        state[f"{layer}.base"] = drawn(4, 3, seed=10 * base + i)
        state[f"{layer}.A"] = drawn(2, 3, seed=100 + 10 * A + i)
        state[f"{layer}.B"] = ZERO_B if B is None else 0.01 * drawn(4, 2, seed=200 + 10 * B + i)
    return state | {name.replace("__", "."): tensor for name, tensor in changes.items()}


RUNS = {
    "an ordinary run": (_state(3.1), _state(2.6, A=1, B=1)),
    "a run with nothing trained, whose loss fell by chance": (_state(3.1), _state(3.09)),
    "a run whose A changed by weight decay alone, B being zero": (_state(3.1), _state(3.1, A=1)),
    "a run in which one of two layers was trained": (_state(3.1), _state(2.9, A=1, B=1, c_fc__B=ZERO_B)),
    "a run that also changed the base": (_state(3.1), _state(2.5, base=1, A=1, B=1)),
    "a run that changed the base in the last digits": (_state(3.1), _state(2.6, A=1, B=1, c_attn__base=NUDGED)),
    "a run with too high a rate, whose loss rose": (_state(3.1), _state(3.4, A=1, B=1)),
    "a resumed run that took no step": (_state(2.6, A=1, B=1), _state(2.6, A=1, B=1)),
    "a resumed run that went on": (_state(2.6, A=1, B=1), _state(2.5, A=2, B=2)),
    "a run with A frozen on purpose": (_state(3.1), _state(2.8, B=1)),
    "a run that ended in NaN": (_state(3.1), _state(math.nan, A=1, B=1, c_attn__B=ZERO_B * math.nan)),
}


def _decide(before, after, part="B", which=all, moved=None, kept=torch.equal, finite=True, falls=False):
    """A right answer whose decisions can be changed one at a time."""
    pairs = [(before[f"{layer}.{part}"], after[f"{layer}.{part}"]) for layer in LAYERS]
    bases = [(before[f"{layer}.base"], after[f"{layer}.base"]) for layer in LAYERS]
    return (
        which(moved(a, b) if moved else not torch.equal(a, b) for a, b in pairs)
        and all(kept(a, b) for a, b in bases)
        and not (finite and not all(bool(b.isfinite().all()) for _, b in pairs))
        and not (falls and not after["loss"] < before["loss"])
    )


def _any_base(a, b):
    return True


DID_IT_TRAIN = Exercise(
    name="did_it_train",
    task="Whether a LoRA run trained its adapter, the whole adapter and nothing but the adapter.",
    stub='''\
import torch


def did_it_train(before, after):
    """True if every layer's B changed and is finite, and no base weight changed by a single bit.

    before, after: dictionaries with "loss", a number, and for each layer, "c_attn" and "c_fc", the tensors
    "c_attn.base", "c_attn.A", "c_attn.B" and so on. `before` may be a fresh adapter or one that was trained already.
    Whether the run made the model better is another question.
    """
    raise NotImplementedError
''',
    hint="A is random from the start, and weight decay moves it without a gradient. What is zero until one comes?",
    solution="""\
import torch


def did_it_train(before, after):
    layers = {name.split(".")[0] for name in before if name != "loss"}
    return all(
        not torch.equal(after[f"{layer}.B"], before[f"{layer}.B"])
        and bool(after[f"{layer}.B"].isfinite().all())
        and torch.equal(after[f"{layer}.base"], before[f"{layer}.base"])
        for layer in layers
    )
""",
    praise="B moved everywhere and the base nowhere: the run did what it says. Only now look at the loss.",
    reference=_decide,
    probes=(lambda answer: {f"for {run}": attempt(answer, *states) for run, states in RUNS.items()},),
    mistakes=(
        Mistake(
            "you looked at A. It is random from the start and moves under weight decay alone: look at B, which starts "
            "at zero.",
            (
                partial(_decide, part="A"),
                partial(_decide, part="A", kept=_any_base),
                partial(_decide, part="A", which=any),
            ),
        ),
        Mistake(
            "you looked at the base only. That it stayed is necessary, but it also stays when nothing is trained.",
            (partial(_decide, moved=lambda a, b: True, finite=False),),
        ),
        Mistake(
            "you looked at the loss only. It can fall by chance or because the base moved, and rise though B moved.",
            (
                lambda before, after: after["loss"] < before["loss"],
                lambda before, after: after["loss"] != before["loss"],
            ),
        ),
        Mistake(
            "you also asked for a falling loss. A run can train and get worse; that is for the next question.",
            (partial(_decide, falls=True), partial(_decide, falls=True, finite=False)),
        ),
        Mistake(
            "you were content with one layer. A layer whose B stayed was cut off from the gradient.",
            (partial(_decide, which=any), partial(_decide, which=any, finite=False)),
        ),
        Mistake(
            "you asked whether B is zero, not whether it changed. In a resumed run it is not zero to begin with.",
            (
                partial(_decide, moved=lambda a, b: bool(b.any())),
                partial(_decide, moved=lambda a, b: bool(b.any()), finite=False),
            ),
        ),
        Mistake(
            "you did not look at the base. If it changed, it was trained too, and an adapter file would lack that.",
            (partial(_decide, kept=_any_base), partial(_decide, kept=_any_base, finite=False)),
        ),
        Mistake(
            "you compared the base with a tolerance. It is frozen, so it must be the same to the bit: torch.equal.",
            (partial(_decide, kept=torch.allclose), partial(_decide, kept=torch.allclose, finite=False)),
        ),
        Mistake("you took NaN for training. B has to be finite.", (partial(_decide, finite=False),)),
    ),
)

EXERCISES = (PERPLEXITY, DID_IT_TRAIN)
