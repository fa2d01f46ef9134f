"""A disk that fills up, a folder that turns read-only, a checkpoint cut short: the run goes on, from what is whole.

    python -m tests.faults.disk FOLDER SAMPLE [--pretend]

runs the first two faults on a small file system in memory mounted at FOLDER, in a mount namespace of its own, which
ends with the process. Where that is not allowed, `--pretend` has the writing of a checkpoint raise the error of a full
or read-only disk, and the table says so.
"""

import argparse
import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from lorabook.errors import CheckpointError
from lorabook.training import checkpoint
from lorabook.training.history import History
from lorabook.training.loop import finetune
from tests.faults import ROOT
from tests.faults.rows import Row
from tests.faults.runs import comparable
from tests.kit.runs import HELD_OUT, TRAIN, config, differing, lora_model, values

SETTINGS = config(steps=9, checkpoint_every=2, log_every=1, clip=0.5)
SHARES = (0.3, 1.5, 2.05, 2.2, 2.4, 2.5, 2.6, 2.7)  # of the disk, in checkpoints: two are kept while one is written
RUN = 2 * 4096  # run.json and history.json
LENGTHS = 20


def train(folder: Path | None, **more) -> tuple[History, dict[str, Tensor], list[str]]:
    """A run with dropout on, its weights, and what it warned of."""
    model = lora_model(dropout=0.3)
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(None):
        warnings.simplefilter("always")
        history = finetune(model, TRAIN, HELD_OUT, SETTINGS, output=folder, **more)
    return history, values(model), [str(w.message) for w in caught]


class Disk:
    """A file system of a given size at `folder`; pretended, it is an ordinary folder whose checkpoints fail."""

    def __init__(self, folder: Path, pretend: bool):
        self.folder, self.pretend, self.write_tensors = folder, pretend, checkpoint.write_tensors

    def mount(self, options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)], check=True)

    @contextlib.contextmanager
    def of(self, size: int) -> Iterator[None]:
        if self.pretend:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            yield
            checkpoint.write_tensors = self.write_tensors
            return
        self.mount(f"size={size}")
        try:
            yield
        finally:
            subprocess.run(["umount", str(self.folder)], check=True)

    def change(self, options: str, number: int) -> None:
        """Remount with `options`; pretended, checkpoints fail with the error `number`, or not if it is 0."""
        if not self.pretend:
            self.mount(f"remount,{options}")
            return

        def fail(*arguments):
            raise OSError(number, os.strerror(number))

        checkpoint.write_tensors = fail if number else self.write_tensors


def problems(disk: Disk, whole, ended, more_room: str) -> list[str]:
    """What is wrong with a run that `ended` though checkpoints failed, and with going on once there is room."""
    history, weights, warned = ended
    found = []
    if comparable(history) != comparable(whole[0]) or differing(weights, whole[1]):
        found.append("the run did not end as one with room")
    if not any("could not be written" in text and "The run goes on without it" in text for text in warned):
        found.append("nothing was said")
    left = [p.name for p in (disk.folder / "checkpoints").glob("*")]
    if any(".partial" in name for name in left):
        found.append(f"left behind: {left}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a damaged checkpoint would be one
        kept = checkpoint.latest(disk.folder / "checkpoints")
    disk.change(more_room, 0)
    again, weights, _ = train(disk.folder, resume=True)
    if comparable(again) != comparable(whole[0]) or differing(weights, whole[1]):
        found.append(f"gone on from {kept and kept.folder.name}, it ended elsewhere")
    return found


def full(disk: Disk, whole, size: int, sample: int | None) -> Row:
    """The disk holds a share of what two checkpoints and the one being written need."""
    wrong, shares = [], SHARES[:sample]
    for share in shares:
        with disk.of(RUN + int(share * size)):
            if disk.pretend:
                disk.change("", errno.ENOSPC)
            wrong += [f"{share} checkpoints: {text}" for text in problems(disk, whole, train(disk.folder), "size=64m")]
    way = "simulated: writing raises ENOSPC" if disk.pretend else "a tmpfs of 0.3 to 3 checkpoints"
    outcome = f"{way}; said, the run ends as with room, what is kept is whole, resuming is bit-equal"
    return Row("full disk", len(shares), "; ".join(wrong) or outcome, not wrong)


def read_only(disk: Disk, whole, sample: int | None) -> list[Row]:
    """The folder can be written to until step k."""
    wrong, steps = [], range(1, 9)[:sample]
    for step in steps:
        with disk.of(2**26):

            def turn(history: History, step: int = step) -> None:
                if len(history.steps) == step:
                    disk.change("ro", errno.EROFS)

            ended = train(disk.folder, on_log=turn)
            wrong += [f"from step {step}: {text}" for text in problems(disk, whole, ended, "rw")]
    way = "simulated: writing raises EROFS" if disk.pretend else "a tmpfs remounted read-only"
    outcome = f"{way}; said, the run ends as if not, resuming is bit-equal"
    rows = [Row("folder read-only from step k", len(steps), "; ".join(wrong) or outcome, not wrong)]
    if disk.pretend:
        return rows
    with disk.of(2**26):
        disk.change("ro", 0)
        try:
            train(disk.folder)
            said = "nothing was said"
        except CheckpointError as error:
            said = str(error).replace(str(disk.folder), "FOLDER")
    passed = "cannot be written" in said
    return [*rows, Row("folder read-only from the start", 1, f"stops before the first step: {said}", passed)]


def cut(folder: Path, whole, sample: int | None) -> list[Row]:
    """Each file of the newest checkpoint, cut at LENGTHS lengths from nothing to all but one byte."""
    rows = []
    train(folder / "whole")
    newest = "checkpoints/step-000009"
    for name in (checkpoint.TENSORS, checkpoint.STATE, checkpoint.MANIFEST):
        data, wrong = (folder / "whole" / newest / name).read_bytes(), []
        lengths = [round(i * (len(data) - 1) / (LENGTHS - 1)) for i in range(LENGTHS)]
        lengths = lengths if sample is None else lengths[:: LENGTHS // sample][:sample]
        for length in lengths:
            place = folder / "cut"
            shutil.copytree(folder / "whole", place)
            (place / newest / name).write_bytes(data[:length])
            history, weights, warned = train(place, resume=True)
            if not any("step-000009 is damaged" in text and "the one before" in text for text in warned):
                wrong.append(f"{length} bytes: nothing was said")
            if comparable(history) != comparable(whole[0]) or differing(weights, whole[1]):
                wrong.append(f"{length} bytes: it did not end as the whole run")
            shutil.rmtree(place)
        outcome = "said, the one before is used, and the run ends bit-equal"
        rows.append(Row(f"{name} cut short", len(lengths), "; ".join(wrong) or outcome, not wrong))
    return rows


def own_mounts() -> list[str] | None:
    """What to put before a command so that it may mount, and its mounts end with it; None where nothing helps."""
    for command in (["unshare", "--mount"], ["unshare", "--mount", "--map-root-user"]):
        trial = "mount -t tmpfs tmpfs /mnt"
        with contextlib.suppress(OSError):
            if not subprocess.run([*command, "sh", "-c", trial], capture_output=True).returncode:
                return command
    return None


def run(sample: int | None, seed: int, folder: Path) -> list[Row]:
    before, disk = own_mounts(), folder / "disk"
    disk.mkdir()
    command = [*(before or []), sys.executable, "-m", "tests.faults.disk", str(disk), str(sample or 0)]
    command += [] if before else ["--pretend"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    if done.returncode:
        return [Row("full disk, read-only folder", 1, done.stderr[-500:], False)]
    rows = [Row(**row) for row in json.loads(done.stdout.splitlines()[-1])]
    return rows + cut(folder, train(None), sample)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("sample", type=int)
    parser.add_argument("--pretend", action="store_true")
    args = parser.parse_args()
    disk, sample, whole = Disk(args.folder, args.pretend), args.sample or None, train(None)
    with disk.of(2**26):
        train(disk.folder)
        newest = next((disk.folder / "checkpoints").glob("step-*"))
        size = sum(-(-f.stat().st_size // 4096) * 4096 for f in newest.iterdir())
    rows = [full(disk, whole, size, sample), *read_only(disk, whole, sample)]
    print(json.dumps([asdict(row) for row in rows]))


if __name__ == "__main__":
    main()
