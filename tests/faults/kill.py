"""Runs killed at moments drawn by a seed, then resumed: each must end as if nothing had happened.

A third of the kills come by the clock, uniform over the time that is left; a third before a line of the code that
writes a checkpoint, drawn among all lines that run; a third a few milliseconds after a checkpoint's folder is seen on
the disk. Every resumed run is killed again, up to CHAIN times; the last one goes through.
"""

import ast
import hashlib
import json
import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file

from lorabook.training.history import History
from tests.faults import ROOT
from tests.faults.rows import Row
from tests.faults.runs import EVERY, STEPS, comparable
from tests.kit.processes import Started

KILLS, CHAIN = 30, 5
KINDS = {
    "line": "SIGKILL before a line that writes a checkpoint",
    "clock": "SIGKILL by the clock",
    "file": "SIGKILL as a checkpoint's files appear",
}
WRITES = STEPS // EVERY + 1  # the last step's checkpoint is written again when the run ends


@dataclass
class Whole:
    """The run that nothing disturbs: its seconds, its lines in `write`, and what it came to."""

    folder: Path
    seconds: float
    lines: int


@dataclass
class Tally:
    """A kill: its kind, how many steps it made the run do again, and what went wrong."""

    kind: str
    again: int
    wrong: list[str] = field(default_factory=list)


def start(folder: Path, line: int = 0) -> Started:
    """A training process that has come as far as its first step, or to going on."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    child = Started("-m", "tests.faults.runs", str(folder), "--die", str(line), cwd=ROOT, env=environment)
    assert child.readline() == "ready\n", child.communicate()[1]
    return child


def whole_run(folder: Path) -> Whole:
    child = start(folder)
    began = time.monotonic()
    out, err = child.communicate()
    assert child.poll() == 0, err
    return Whole(folder, time.monotonic() - began, int(out.split()[-1]))


def order(folder: Path) -> list[tuple[int, str]]:
    """Number and rows of every step that was begun. A line cut short by the kill stands for its step."""
    lines = (folder / "order.txt").read_text().splitlines() if (folder / "order.txt").exists() else []
    return [(int(step), rows) for step, rows in (line.split("\t") for line in lines)]


def newest(folder: Path) -> int:
    """The step of the newest checkpoint whose files have the sums that its manifest says; 0 where there is none."""
    good = [0]
    for place in (folder / "checkpoints").glob("step-*"):
        try:
            sums = {n: m["sha256"] for n, m in json.loads((place / "manifest.json").read_text()).items()}
            whole = sums == {n: hashlib.sha256((place / n).read_bytes()).hexdigest() for n in sums}
        except FileNotFoundError:  # the kill met an old checkpoint as it was deleted
            continue
        good += [int(place.name[5:11])] * whole
    return max(good)


def kill(folder: Path, kind: str, whole: Whole, rng: random.Random) -> bool:
    """Start the run, or let it go on, and kill it; False where it was over before that."""
    left = 1 - newest(folder) / STEPS
    writes = max(1, round(left * (WRITES - 1)))
    line = rng.randint(1, whole.lines // WRITES * min(2, writes)) if kind == "line" else 0
    child = start(folder, line)
    if kind == "clock":
        time.sleep(rng.uniform(0, left * whole.seconds))
    if kind == "file":
        wanted, seen = rng.randint(1, min(2, writes)), set()
        while len(seen) < wanted and child.poll() is None:
            seen |= {p.name for p in (folder / "checkpoints").glob(".partial-*")}
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.03))
    if kind != "line":
        child.send_signal(signal.SIGKILL)
    child.communicate()
    return child.poll() == -signal.SIGKILL


def differences(whole: Whole, folder: Path) -> list[str]:
    """What of the finished run in `folder` is not that of the undisturbed one."""
    found = []
    mine, theirs = (load_file(f / f"checkpoints/step-{STEPS:06d}/state.safetensors") for f in (folder, whole.folder))
    if mine.keys() != theirs.keys() or not all(torch.equal(mine[k], theirs[k]) for k in mine):
        found.append("weights, moments or random state differ")
    histories = [json.loads((f / "history.json").read_text()) for f in (folder, whole.folder)]
    if comparable(History.from_json(histories[0])) != comparable(History.from_json(histories[1])):
        found.append("the History differs")
    expected = dict(order(whole.folder))
    if any(rows != expected[step] for step, rows in order(folder)):
        found.append("rows came in another order")
    if [step for step in expected if step not in dict(order(folder))]:
        found.append("a step was left out")
    return found


def chain(place: Path, kinds: list[str], whole: Whole, rng: random.Random) -> list[Tally]:
    """One run, killed once for each of `kinds` and then let go to its end. Ends early where a kill came too late."""
    tallies, marks = [], []
    for kind in kinds:
        if not kill(place, kind, whole, rng):
            break
        steps = order(place)
        begun, kept = max([0, *dict(steps)]), newest(place)
        tallies.append(Tally(kind, begun - kept))
        if kept < (begun - 1) // EVERY * EVERY:
            tallies[-1].wrong.append(f"step {kept} is the newest whole checkpoint though step {begun} was begun")
        marks.append((kept, len(steps)))
    last = start(place)
    error = last.communicate()[1]
    if last.poll():
        wrong = [f"it could not go on: {error[-300:]}"]
    else:
        wrong = differences(whole, place)
        steps = [step for step, _ in order(place)]
        if any(steps[lines] != kept + 1 for kept, lines in marks if lines < len(steps)):
            wrong.append("it did not go on from its newest checkpoint")
    for tally in tallies:
        tally.wrong += wrong
    return tallies


def run(sample: int | None, seed: int, folder: Path) -> list[Row]:
    rng, kills = random.Random(seed), KILLS if sample is None else sample
    whole = whole_run(folder / "whole")
    pieces = sorted(len(ast.literal_eval(rows)) for _, rows in order(whole.folder))
    assert pieces[STEPS // 4] >= 4, f"too few steps of four micro-batches: {pieces}"
    tallies: list[Tally] = []
    for number in range(3 * kills):  # kills that come too late are tried again
        kinds = [list(KINDS)[i % len(KINDS)] for i in range(len(tallies), min(kills, len(tallies) + CHAIN))]
        if not kinds:
            break
        tallies += chain(folder / f"chain-{number}", kinds, whole, rng)
    rows = []
    for kind, fault in KINDS.items():
        mine = [t for t in tallies if t.kind == kind]
        wrong = sorted({text for t in mine for text in t.wrong})
        again = max((t.again for t in mine), default=0)
        kept = f"weights, moments, History and order of rows bit-equal; at most {again} steps done again of {EVERY}"
        if mine or kills >= len(KINDS):
            rows.append(Row(fault, len(mine), "; ".join(wrong) or kept, bool(mine) and not wrong and again <= EVERY))
    return rows
