"""Checkpoints copied to an unreliable drive by a machine that is then lost: the manifest decides what is used.

The folder says "written" at once and writes later, in its own time; when the machine goes, what it still holds is lost
in one of the ways of LOSSES. A new machine, without the first one's disk, goes on from what arrived.
"""

import contextlib
import errno
import hashlib
import json
import os
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from lorabook.training.checkpoint import COPIES
from lorabook.training.history import History
from lorabook.training.loop import finetune
from tests.faults.rows import Row
from tests.faults.runs import comparable
from tests.kit.runs import HELD_OUT, TRAIN, config, differing, lora_model, values

SETTINGS = config(steps=10, checkpoint_every=1, log_every=1, clip=0.5)
TRIES, LAG = 10, 3 * (COPIES - 1)  # of each loss; files on their way at most, three a checkpoint: one copy has arrived


def lost(held: list[Path]) -> None:
    """The last file never arrives; those before it do."""
    held[-1].unlink()


def all_lost(held: list[Path]) -> None:
    for file in held:
        file.unlink()


def out_of_order(held: list[Path]) -> None:
    """The first file on its way is the one that is lost, the manifest after it arrives."""
    held[0].unlink()


def emptied(held: list[Path]) -> None:
    held[-1].write_bytes(b"")


def half(held: list[Path]) -> None:
    data = held[-1].read_bytes()
    held[-1].write_bytes(data[: len(data) // 2])


def zeros(held: list[Path]) -> None:
    held[-1].write_bytes(bytes(held[-1].stat().st_size))


LOSSES: dict[str, Callable[[list[Path]], None]] = {
    "the last file lost": lost,
    "every file on its way lost": all_lost,
    "files out of order, the first lost": out_of_order,
    "the last file empty": emptied,
    "the last file cut in half": half,
    "the last file all zeros": zeros,
}


class Gone(BaseException):
    """The machine, with all that ran on it."""


class Lying:
    """A folder whose files arrive `lag` files late. Until then they are read from a cache (`shown`) or not there."""

    def __init__(self, folder: Path, lag: int, shown: bool):
        self.folder, self.lag, self.shown, self.copyfile = folder, lag, shown, shutil.copyfile
        self.held: list[tuple[bytes, Path]] = []

    def take(self, source, target):
        if self.folder not in Path(target).parents:
            return self.copyfile(source, target)
        self.held.append((Path(source).read_bytes(), Path(target)))
        if self.shown:
            self.copyfile(source, target)
        while len(self.held) > self.lag:
            self.arrive(*self.held.pop(0))
        return target

    def arrive(self, data: bytes, target: Path) -> None:
        if target.parent.exists():  # dropped meanwhile, with the folder it belongs to
            target.write_bytes(data)

    @contextlib.contextmanager
    def mounted(self) -> Iterator[None]:
        shutil.copyfile = self.take
        try:
            yield
        finally:
            shutil.copyfile = self.copyfile

    def machine_goes(self, loss: Callable[[list[Path]], None]) -> None:
        for data, target in self.held:
            self.arrive(data, target)
        if held := [target for _, target in self.held if target.exists()]:
            loss(held)


def arrived(folder: Path) -> list[tuple[bool, int]]:
    """Of every copy, newest first: whether its files have the sums that its manifest says, and its step."""
    found = []
    for place in sorted(folder.glob("step-*"), reverse=True):
        whole = False
        with contextlib.suppress(OSError, ValueError):
            sums = json.loads((place / "manifest.json").read_text())
            whole = all(hashlib.sha256((place / n).read_bytes()).hexdigest() == m["sha256"] for n, m in sums.items())
        found.append((whole, int(place.name.split("-")[1])))
    return found


def go_on(folder: Path, drive: Path, whole) -> list[str]:
    """A new machine resumes from `drive`; what is wrong with how it does."""
    copies, model, seen = arrived(drive), lora_model(dropout=0.3), []
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(None):
        warnings.simplefilter("always")
        history = finetune(
            model, TRAIN, HELD_OUT, SETTINGS, output=folder, copy_to=drive, resume=True, on_log=lambda h: seen.append(1)
        )
    best = max((step for whole_copy, step in copies if whole_copy), default=0)
    broken = sum(not whole_copy and step >= best for whole_copy, step in copies)
    wrong = []
    if len(seen) != SETTINGS.steps - best:
        wrong.append(f"it went on from step {SETTINGS.steps - len(seen)}, not from {best}")
    if sum("is damaged" in str(w.message) for w in caught) != broken:
        wrong.append(f"{broken} damaged copies were not named one by one")
    if comparable(history) != comparable(whole[0]) or differing(values(model), whole[1]):
        wrong.append("it did not end as the whole run")
    if sum(whole_copy for whole_copy, _ in arrived(drive)) != COPIES:
        wrong.append(f"{COPIES} whole copies were to be kept")
    return wrong


def lose_machine(folder: Path, loss: Callable[[list[Path]], None], whole, rng: random.Random) -> list[str]:
    """Train with a lying folder, lose the machine at a drawn step, go on on a new one."""
    end, lag, shown = rng.randint(5, SETTINGS.steps or 0), rng.randint(1, LAG), rng.random() < 0.5
    drive = Lying(folder / "drive", lag, shown)

    def die(history: History) -> None:
        if len(history.steps) == end:
            raise Gone

    with drive.mounted(), contextlib.suppress(Gone), contextlib.redirect_stdout(None):
        finetune(
            lora_model(dropout=0.3), TRAIN, HELD_OUT, SETTINGS, output=folder / "one", copy_to=drive.folder, on_log=die
        )
    drive.machine_goes(loss)
    shutil.rmtree(folder / "one")
    if not any(whole_copy for whole_copy, _ in arrived(drive.folder)):
        return [f"nothing whole was left on the drive after step {end}, {lag} files late"]
    return go_on(folder / "two", drive.folder, whole)


def unplugged(folder: Path, number: int, whole, rng: random.Random) -> list[str]:
    """Copying fails from a drawn step on: the run goes on and says so, and its own checkpoints are complete."""
    drive, left = Lying(folder / "drive", 0, True), 3 * rng.randint(1, 8)

    def fail(source, target):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(number, os.strerror(number))
        return drive.copyfile(source, target)

    drive.take, model = fail, lora_model(dropout=0.3)
    with drive.mounted(), warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(None):
        warnings.simplefilter("always")
        history = finetune(model, TRAIN, HELD_OUT, SETTINGS, output=folder / "one", copy_to=drive.folder)
    wrong = []
    if not any("could not be copied" in str(w.message) and "goes on" in str(w.message) for w in caught):
        wrong.append("nothing was said")
    if comparable(history) != comparable(whole[0]) or differing(values(model), whole[1]):
        wrong.append("the run did not end as one with a drive")
    if not all(whole_copy for whole_copy, _ in arrived(drive.folder) + arrived(folder / "one" / "checkpoints")):
        wrong.append("a broken checkpoint was left")
    return wrong + go_on(folder / "two", drive.folder, whole)


def run(sample: int | None, seed: int, folder: Path) -> list[Row]:
    rng, tries = random.Random(seed), TRIES if sample is None else sample
    model = lora_model(dropout=0.3)
    with contextlib.redirect_stdout(None):
        whole = finetune(model, TRAIN, HELD_OUT, SETTINGS), values(model)
    rows = []

    def tried(fault: str, attempt: Callable[[Path], list[str]], outcome: str) -> None:
        wrong = []
        for _ in range(tries):
            wrong += attempt(folder / "try")
            shutil.rmtree(folder / "try")
        rows.append(Row(fault, tries, "; ".join(sorted(set(wrong))) or outcome, not wrong))

    good = "damaged copies named, the newest whole one used, the run ends bit-equal on the new machine"
    for name, loss in LOSSES.items():
        tried(f"drive late, {name}", lambda f, loss=loss: lose_machine(f, loss, whole, rng), good)
    good = "said, the run goes on with its own disk, and the drive's copies are whole"
    for name, number in (("disconnected", errno.ENOTCONN), ("full", errno.ENOSPC)):
        tried(f"drive {name} mid-run", lambda f, number=number: unplugged(f, number, whole, rng), good)
    return rows
