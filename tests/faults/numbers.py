"""Values that are not finite, examples that do not fit the model: stopped or skipped, the last good state kept."""

import contextlib
import json
import math
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import accelerate
import torch
from torch import nn

from lorabook.data.examples import Example
from lorabook.errors import DataError, LorabookError, TrainingError
from lorabook.lora import LoRAConfig, apply_lora, lora_layers
from lorabook.step.loss import AnswerLoss
from lorabook.step.optimizer import trained
from lorabook.training import loop
from lorabook.training.checkpoint import latest
from lorabook.training.loop import MOST_OVERFLOWS, finetune
from tests.faults.rows import Row
from tests.faults.runs import comparable
from tests.kit.accelerators import ScaledAccelerator
from tests.kit.families import VOCABULARY, gpt_bigcode
from tests.kit.runs import HELD_OUT, TRAIN, config, differing, lora_model, values

SETTINGS = config(steps=9, checkpoint_every=2, log_every=1, clip=0.5)
BAD = (math.nan, math.inf, -math.inf)
TRIES = 9
Spoil = Callable[[nn.Module, int, float], "contextlib.AbstractContextManager | None"]


@contextlib.contextmanager
def swapped(owner, name: str, new):
    old = getattr(owner, name)
    setattr(owner, name, new)
    try:
        yield
    finally:
        setattr(owner, name, old)


@contextlib.contextmanager
def at_step(k: int, act: Callable[[], object]):
    """Do `act` before step k is taken."""
    step = loop.TrainingRun.step

    def watched(run, *arguments):
        if len(run.history.steps) + 1 == k:
            act()
        step(run, *arguments)

    with swapped(loop.TrainingRun, "step", watched):
        yield


def in_frozen(model, k: int, bad: float):
    weight = model.transformer.h[1].mlp.c_fc.base_layer.weight
    return at_step(k, lambda: weight.data[3, 5:6].fill_(bad))


def in_trained(model, k: int, bad: float):
    """Put there before step k, so that step k must not be taken and the checkpoints must not have it."""
    return at_step(k, lambda: trained(model)[1][1].data.view(-1)[:1].fill_(bad))


def in_update(model, k: int, bad: float):
    """What the optimizer's step k makes of a weight, just before a checkpoint of it is due."""
    step = loop.TrainingRun.step

    def spoiled(run, *arguments):
        step(run, *arguments)
        if len(run.history.steps) == k:
            trained(model)[1][1].data.view(-1)[:1].fill_(bad)

    return swapped(loop.TrainingRun, "step", spoiled)


def in_embedding(model, k: int, bad: float):
    """In what the embedding makes of one batch."""
    hit = [False]

    def hook(module, arguments, output):
        if hit.pop() if hit else False:
            output = output.clone()
            output[0, 0, 0] = bad
        return output

    model.transformer.wte.register_forward_hook(hook)
    return at_step(k, lambda: hit.append(True))


def in_loss(model, k: int, bad: float):
    forward, hit = AnswerLoss.forward, []

    def spoiled(self, *arguments):
        return forward(self, *arguments) * (bad if hit and hit.pop() else 1)

    stack = contextlib.ExitStack()
    stack.enter_context(swapped(AnswerLoss, "forward", spoiled))
    stack.enter_context(at_step(k, lambda: hit.append(True)))
    return stack


def in_gradient(model, k: int, bad: float):
    hit = []
    next(lora_layers(model))[1].A.register_hook(lambda g: g * bad if hit and hit.pop() else g)
    return at_step(k, lambda: hit.append(True))


def stops(folder: Path, spoil: Spoil, k: int, bad: float, whole) -> list[str]:
    """Spoil step k: the run ends there with a message, nothing reaches a checkpoint, going on ends as the whole run."""
    model, wrong = lora_model(dropout=0.3), []
    before: list[dict] = []
    watch = at_step(k, lambda: before.append({n: p.detach().clone() for n, p in trained(model)}))
    with spoil(model, k, bad) or contextlib.nullcontext(), watch, contextlib.redirect_stdout(None):
        try:
            finetune(model, TRAIN, HELD_OUT, SETTINGS, output=folder)
            return [f"a run with {bad} at step {k} was not stopped"]
        except TrainingError as error:
            if f"{'after' if spoil is in_update else 'at'} step {k}" not in error.problem:
                wrong.append(f"step {k} spoiled: {error.problem}")
    if spoil not in (in_trained, in_update) and differing(before[0], {n: p.detach() for n, p in trained(model)}):
        wrong.append("a trained weight moved")
    if not json.loads((folder / "history.json").read_text())["stopped"].startswith("failed: "):
        wrong.append("history.json does not say so")
    kept = latest(folder / "checkpoints") if k > SETTINGS.checkpoint_every else None
    if kept and (
        len(kept.state["history"]["steps"]) != (k - 1) // 2 * 2
        or not all(bool(t.isfinite().all()) for t in kept.tensors.values())
    ):
        wrong.append("the last checkpoint is not the last good state")
    again = lora_model(dropout=0.3)
    with contextlib.redirect_stdout(None):
        history = finetune(again, TRAIN, HELD_OUT, SETTINGS, output=folder, resume=True)
    if comparable(history) != comparable(whole[0]) or differing(values(again), whole[1]):
        wrong.append("gone on from the last checkpoint, it did not end as the whole run")
    return wrong


def before_the_run(bad: float, number: int) -> list[str]:
    """A frozen weight that is not finite when the run begins."""
    model = lora_model()
    name, weight = [(n, p) for n, p in model.named_parameters() if not p.requires_grad and p.dim() == 2][number]
    weight.data[0, 0] = bad
    start = values(model)
    try:
        finetune(model, TRAIN, HELD_OUT, SETTINGS)
    except TrainingError as error:
        moved = [n for n, p in start.items() if not torch.equal(p.nan_to_num(), model.state_dict()[n].nan_to_num())]
        return [f"{n} moved" for n in moved] if "before any training" in error.problem else [error.problem]
    return [f"{bad} in {name} was not noticed"]


def overflow(rng: random.Random, count: int) -> list[str]:
    """Gradients that overflow under a loss scale at `count` drawn steps: those are skipped and move no schedule."""
    steps = 3 * count
    at = set(rng.sample(range(1, steps + 1), count))
    model, calls, moved = lora_model(), [], []
    settings = config(steps=steps, batch_tokens=50)  # one micro-batch a step, so one call
    hooked = trained(model)[0][1]
    hooked.register_hook(lambda g: calls.append(0) or (g * math.inf if len(calls) in at else g))
    step = loop.TrainingRun.step

    def watched(run, *arguments):
        before = values(model)
        step(run, *arguments)
        moved.append(bool(differing(before, values(model))))

    with swapped(accelerate, "Accelerator", ScaledAccelerator), swapped(loop.TrainingRun, "step", watched):
        history = finetune(model, TRAIN, HELD_OUT, settings)
    wrong = []
    if {s.step for s in history.steps if s.skipped} != at or any(m == s.skipped for m, s in zip(moved, history.steps)):
        wrong.append("other steps were skipped than those that overflowed")
    rates = [s.lr for s in history.steps]
    if any(rates[i] != rates[i - 1] for i in range(1, steps) if i in at):
        wrong.append("a skipped step moved the schedule")
    return wrong


def endless_overflow() -> list[str]:
    """One overflow more in a row than a loss scaler recovers from."""
    model = lora_model()
    trained(model)[0][1].register_hook(lambda g: g * math.inf)
    start = values(model)
    with swapped(accelerate, "Accelerator", ScaledAccelerator):
        try:
            finetune(model, TRAIN, HELD_OUT, config(steps=MOST_OVERFLOWS + 5, batch_tokens=50))
        except TrainingError as error:
            said = f"{MOST_OVERFLOWS + 1} times in a row" in error.problem
            return differing(start, values(model)) if said else [error.problem]
    return ["it was not stopped"]


def no_labels(place: int) -> list[str]:
    """Micro-batches without a label, put in at `place`, change nothing; a row without one cannot be made."""
    plain, model, settings = lora_model(), lora_model(), config(clip=0.5)
    expected = finetune(plain, TRAIN, HELD_OUT, settings)
    share = loop.share_of_rank

    def filled(pieces, rank, world):
        mine = share(pieces, rank, world)
        return [*mine[:place], [], *mine[place:]]

    with swapped(loop, "share_of_rank", filled):
        history = finetune(model, TRAIN, HELD_OUT, settings)
    wrong = differing(values(plain), values(model))
    if comparable(history) != comparable(expected):
        wrong.append("the History differs")
    with contextlib.suppress(DataError):
        Example((1, 2, 3), 3, 7)
        wrong.append("a row without a label was made")
    return wrong


def refused(example: Example, words: str, held: bool) -> list[str]:
    """A row that does not fit the model, named before any step."""
    model = lora_model()
    start = values(model)
    sides = (TRAIN, [*HELD_OUT, example]) if held else ([*TRAIN, example], HELD_OUT)
    try:
        finetune(model, *sides, SETTINGS)
    except LorabookError as error:
        named = isinstance(error, DataError) and words in error.problem and str(example.question_id) in error.problem
        return differing(start, values(model)) if named else [str(error)]
    return [f"{words}: it was trained on"]


def at_the_limit() -> list[str]:
    """Rows of exactly as many tokens as there are positions, with the last token of the vocabulary."""
    model = gpt_bigcode()
    apply_lora(model, LoRAConfig(r=4, alpha=8))
    row = Example((1,) * 30 + (VOCABULARY - 1, 0), 20, 9)
    history = finetune(model, [row] * 4, HELD_OUT, config(steps=2))
    return [] if history.stopped == "finished" else [history.stopped]


def run(sample: int | None, seed: int, folder: Path) -> list[Row]:
    rng, tries = random.Random(seed), TRIES if sample is None else sample
    model = lora_model(dropout=0.3)
    with contextlib.redirect_stdout(None):
        whole = finetune(model, TRAIN, HELD_OUT, SETTINGS), values(model)
    rows = []

    def tried(fault: str, attempts: list[Callable[[], list[str]]], outcome: str) -> None:
        wrong = sorted({text for attempt in attempts for text in attempt()})
        rows.append(Row(fault, len(attempts), "; ".join(wrong) or outcome, not wrong))

    def stopping(spoil: Spoil, k: int, bad: float) -> list[str]:
        wrong = stops(folder / "try", spoil, k, bad, whole)
        shutil.rmtree(folder / "try", ignore_errors=True)
        return wrong

    places = [(BAD[i % 3], rng.randint(0, 8)) for i in range(tries)]
    outcome = "stopped before the first step, with what to do"
    tried("NaN, ±inf in a frozen weight", [lambda p=p: before_the_run(*p) for p in places], outcome)
    outcome = "stopped at the step, weights and checkpoint of the last good one; going on is bit-equal"
    for spoil, where in (
        (in_frozen, "a frozen weight mid-run"),
        (in_trained, "a trained weight mid-run"),
        (in_update, "an update, a checkpoint being due"),
        (in_embedding, "a batch"),
        (in_loss, "the loss"),
        (in_gradient, "a gradient"),
    ):
        due = range(4, 9, SETTINGS.checkpoint_every) if spoil is in_update else range(2, 10)
        draws = [(rng.choice(due), BAD[i % 3]) for i in range(tries)]
        tried(f"NaN, ±inf in {where}", [lambda d=d, s=spoil: stopping(s, *d) for d in draws], outcome)
    outcome = "just those steps are skipped, weights and schedule wait"
    tried("overflow under a loss scale", [lambda: overflow(rng, 5)] * tries, outcome)
    outcome = f"stopped after {MOST_OVERFLOWS + 1} in a row, no weight moved"
    tried("overflow at every step", [endless_overflow], outcome)
    outcome = "counts nothing, the run is bit-equal without it; such a row is refused"
    tried("micro-batch without labels", [lambda i=i: no_labels(i % 4) for i in range(min(4, tries))], outcome)
    long = [Example((1,) * n, n - 2, 8_000 + n) for n in (33, 64, 4097)]
    outcome = "refused before the first step by question, with the limit; a row at the limit is trained on"
    words = "the model has 32 positions"
    attempts = [lambda e=e, held=held: refused(e, words, held) for e in long for held in (False, True)]
    tried("row longer than the positions", [*attempts[:sample], at_the_limit], outcome)
    beyond = [Example((1, wrong, 2), 1, 9_000 + abs(wrong)) for wrong in (VOCABULARY, 49_151, -1)]
    words = f"the model's vocabulary has {VOCABULARY}"
    attempts = [lambda e=e, held=held: refused(e, words, held) for e in beyond for held in (False, True)]
    tried("token outside of the vocabulary", [*attempts[:sample], at_the_limit], outcome)
    return rows
