"""Memory that runs out at a drawn step, in the forward or the backward pass: smaller micro-batches, the same gradient.

    python -m tests.faults.memory MIB

is one run of pocket with at most MIB more address space than it has when it begins, for which memory truly runs out.
"""

import contextlib
import gc
import io
import json
import os
import random
import re
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from lorabook.data.batches import epoch_plan
from lorabook.errors import TrainingError
from lorabook.lora import lora_layers
from lorabook.training.checkpoint import latest
from lorabook.training.history import History
from lorabook.training.loop import FAILURES, finetune
from tests.faults import ROOT
from tests.faults.numbers import at_step
from tests.faults.rows import Row
from tests.kit.runs import HELD_OUT, config, differing, gradients_of, lora_model, rows, values

TRAIN = rows(90, seed=2, longest=14)
SETTINGS = config(steps=6, micro_tokens=150, checkpoint_every=4)  # a step is one micro-batch until memory runs out
TRIES = 10
ROOMS = (120, 60, 30)  # MiB for the real one: eight rows of pocket fit after one halving, after two, not at all


def starving(model: nn.Module, k: int, times: int, backward: bool):
    """Memory runs out in step k, `times` times in a row, at the last LoRA layer but one that is passed."""
    left: list[int] = []
    layers = [layer for _, layer in lora_layers(model)]

    def fail(*arguments):
        if left:
            left.pop()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    if backward:
        layers[1].B.register_hook(fail)  # reached when most other gradients have been added
    else:
        layers[-2].register_forward_hook(lambda module, *_: fail() if module.training else None)
    return at_step(k, lambda: left.extend([0] * times))


def relative(mine: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The norm of the difference of two gradients over the norm of one."""
    flat = [torch.cat([g.flatten() for g in each.values()]).double() for each in (mine, other)]
    return float((flat[0] - flat[1]).norm() / flat[1].norm())


def halved(k: int, times: int, backward: bool, plain, history: History) -> list[str]:
    """The run goes on; the gradient of step k is that of the run with memory, from the same weights."""
    model, ended = lora_model(), []
    with starving(model, k, times, backward), contextlib.redirect_stdout(None):
        seen = gradients_of(model, lambda: ended.append(finetune(model, TRAIN, HELD_OUT, SETTINGS)))
    wrong = [f"the gradient of step {i + 1} changed" for i in range(k - 1) if differing(seen[i], plain[i])]
    if (error := relative(seen[k - 1], plain[k - 1])) > 1e-6:
        wrong.append(f"the gradient of step {k} is off by {error:.1e}")
    pairs = zip(ended[0].steps, history.steps)
    if [s.label_tokens for s in ended[0].steps] != [s.label_tokens for s in history.steps]:
        wrong.append("the effective batch changed")
    if any(abs(a.loss - b.loss) > 1e-3 for a, b in pairs):
        wrong.append("the losses went elsewhere")
    return wrong


def ends(k: int, backward: bool, folder: Path) -> list[str]:
    """FAILURES in a row end the run with the ledger's figures, in the state before; smaller micro-batches go on."""
    model, wrong, before = lora_model(), [], []
    watch = at_step(k, lambda: before.append(values(model)))
    with starving(model, k, FAILURES, backward), watch, contextlib.redirect_stdout(None):
        try:
            finetune(model, TRAIN, HELD_OUT, SETTINGS, output=folder)
            return ["it did not end"]
        except TrainingError as error:
            if not re.search(f"ran out {FAILURES} times in a row at step {k},", error.problem):
                wrong.append(error.problem)
            if not re.search(r"The estimate for.* MiB with 1 at once", error.advice):
                wrong.append(error.advice)
    wrong += [f"{name} moved" for name in differing(before[0], values(model))]
    kept = latest(folder / "checkpoints")
    if kept is None or len(kept.state["history"]["steps"]) != k - 1:
        wrong.append("the state before the step was not kept")
    again = lora_model()
    with contextlib.redirect_stdout(None):
        history = finetune(again, TRAIN, HELD_OUT, config(steps=6, micro_tokens=24), output=folder, resume=True)
    if history.stopped != "finished" or [s.step for s in history.steps] != list(range(1, 7)):
        wrong.append("it could not go on with smaller micro-batches")
    return wrong


def traceback_let_go() -> list[str]:
    """An error that a notebook showed holds tensors by its traceback: they are gone before the second attempt."""

    def shown():
        held = torch.zeros(1000)
        seen.append(weakref.ref(held))
        raise RuntimeError("an earlier cell")

    seen: list[weakref.ref] = []
    try:
        shown()
    except RuntimeError as error:
        sys.last_value, sys.last_traceback = error, error.__traceback__
    gc.collect()
    if seen[0]() is None:
        return ["nothing was held"]
    model = lora_model()
    with starving(model, 2, 1, False), contextlib.redirect_stdout(None):
        finetune(model, TRAIN, HELD_OUT, SETTINGS)
    return [] if seen[0]() is None else ["the tensors of an earlier error are still held"]


def real(rooms: list[int]) -> Row:
    """The address space of a process is limited while it trains: a best effort, for allocators differ."""
    runs = []
    for room in (0, *rooms):
        command = [sys.executable, "-m", "tests.faults.memory", str(room)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "MALLOC_ARENA_MAX": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"died": done.stderr[-200:]})
    plain, starved = runs[0], runs[1:]
    wrong = [f"{room} MiB: {r}" for room, r in zip(rooms, starved) if "died" in r]
    for room, r in zip(rooms, starved):
        if "norms" in r and any(abs(a / b - 1) > 1e-4 for a, b in zip(r["norms"], plain["norms"])):
            wrong.append(f"{room} MiB: gradient norms {r['norms']}, not {plain['norms']}")
    said = ", ".join(f"{room} MiB: {r.get('ended', '')}" for room, r in zip(rooms, starved))
    return Row("memory truly out (RLIMIT_AS)", len(rooms), "; ".join(wrong) or said, not wrong)


def run(sample: int | None, seed: int, folder: Path) -> list[Row]:
    rng, tries = random.Random(seed), TRIES if sample is None else sample
    plain_model, ended = lora_model(), []
    plain = gradients_of(plain_model, lambda: ended.append(finetune(plain_model, TRAIN, HELD_OUT, SETTINGS)))
    found = []
    steps = epoch_plan(
        [len(e.input_ids) for e in TRAIN], SETTINGS.micro_tokens, SETTINGS.batch_tokens, SETTINGS.seed, 0
    )
    large = [k for k in range(2, 7) if sum(map(len, steps[k - 1])) >= 2**FAILURES]  # rows enough to be halved

    def tried(fault: str, attempts: list[Callable[[], list[str]]], outcome: str) -> None:
        wrong = sorted({text for attempt in attempts for text in attempt()})
        found.append(Row(fault, len(attempts), "; ".join(wrong) or outcome, not wrong))

    outcome = "micro-batches of half the size, earlier gradients bit-equal, that step's within 1e-6, batch unchanged"
    for backward, where in ((False, "forward"), (True, "backward")):
        draws = [(rng.choice(large), 1 + i % (FAILURES - 1)) for i in range(tries)]
        attempts = [lambda d=d, b=backward: halved(*d, b, plain, ended[0]) for d in draws]
        tried(f"memory out at step k, {where} pass", attempts, outcome)
    outcome = (
        "ended with the ledger's figures, in the state before the step, which is kept; smaller micro-batches go on"
    )
    draws = [(rng.choice(large), bool(i % 2), folder / str(i)) for i in range(tries)]
    tried(f"memory out {FAILURES} times in a row", [lambda d=d: ends(*d) for d in draws], outcome)
    tried("an earlier traceback holds tensors", [traceback_let_go], "let go before the next attempt")
    if sample is None and sys.platform == "linux":
        found.append(real(list(ROOMS)))
    return found


def main() -> None:
    """Train pocket for one step with little room, and print how that went as JSON."""
    import resource

    from lorabook.lora import LoRAConfig, apply_lora
    from lorabook.models import load_model

    model = load_model("pocket", device="cpu").model
    apply_lora(model, LoRAConfig(r=8, alpha=16))
    train = [row for row in rows(60, seed=5, longest=256) if len(row.input_ids) > 200][:8]  # alike: halves are halves
    settings = config(steps=1, batch_tokens=2048, micro_tokens=2048)
    if room := int(sys.argv[1]):
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + room * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            history = finetune(model, train, rows(2, seed=6), settings)
            times = printed.getvalue().count("out of memory: ")
            said = {"norms": [s.grad_norm for s in history.steps], "ended": f"finished, halved {times} times"}
        except TrainingError as error:
            said = {"ended": error.problem}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
