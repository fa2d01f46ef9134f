"""The run that is killed, starved or resumed: pocket with LoRA, dropout on, four micro-batches a step, on the CPU.

    python -m tests.faults.runs FOLDER [--die LINE]

trains it in FOLDER, or goes on with it, and writes `order.txt` as it goes: a line for every step that is begun, with
its number and its rows. `--die LINE` ends the process by SIGKILL before the LINE-th line of `checkpoint.py` that runs
while checkpoints are written.
"""

import argparse
import dataclasses
import itertools
import os
import signal
import sys
from pathlib import Path

from torch import nn

from lorabook.lora import LoRAConfig, apply_lora
from lorabook.models import load_model
from lorabook.step.config import TrainConfig
from lorabook.training import checkpoint
from lorabook.training import loop as train
from lorabook.training.history import History
from tests.kit.runs import rows

STEPS, EVERY = 20, 4
TRAIN, HELD_OUT = rows(96, seed=3, longest=48), rows(6, seed=4)
CONFIG = TrainConfig(
    lr=5e-3, steps=STEPS, batch_tokens=400, micro_tokens=80, clip=1.0, checkpoint_every=EVERY, log_every=0, seed=3
)


def model() -> nn.Module:
    loaded = load_model("pocket", device="cpu").model
    apply_lora(loaded, LoRAConfig(r=8, alpha=16, targets=("all-linear", "wte"), dropout=0.1, seed=3))
    return loaded


def comparable(history: History) -> dict:
    """A History without what a clock or a memory gauge put into it."""
    steps = [dataclasses.replace(s, seconds=0.0, peak_bytes=0) for s in history.steps]
    return dataclasses.asdict(dataclasses.replace(history, steps=steps))


def record_order(file: Path) -> None:
    """Have every step write its number and its rows, micro-batch by micro-batch, before it is taken."""
    step = train.TrainingRun.step

    def recorded(run, micro: list[list[int]], factor: float) -> None:
        with open(file, "a") as f:
            f.write(f"{len(run.history.steps) + 1}\t{micro}\n")
        step(run, micro, factor)

    train.TrainingRun.step = recorded


def die_at_line(line: int) -> itertools.count:
    """Count the lines of checkpoint.py that run within `write`, and end the process before the one asked for."""
    count, write, code = itertools.count(1), checkpoint.write, checkpoint.__file__

    def trace(frame, event, argument):
        if frame.f_code.co_filename != code:
            return None
        if event == "line" and next(count) == line:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    def traced(*arguments):
        sys.settrace(trace)
        try:
            return write(*arguments)
        finally:
            sys.settrace(None)

    checkpoint.write = traced
    return count


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--die", type=int, default=0)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    record_order(args.folder / "order.txt")
    count = die_at_line(args.die)
    subject = model()
    print("ready", flush=True)
    history = train.finetune(subject, TRAIN, HELD_OUT, CONFIG, output=args.folder, resume=True)
    print(next(count) - 1, flush=True)
    assert history.stopped == "finished"


if __name__ == "__main__":
    main()
