"""Checkpoints of a training run: atomic, checked before use, and exact enough to resume bit for bit on a CPU.

A checkpoint is a folder `step-000050` with `state.safetensors` (trained parameters, optimizer moments, random states),
`state.json` (what else `TrainingRun.state` says of the run: its identity, history, clock, loss scaler; the number of
steps in the history tells where to go on) and, written last, `manifest.json` with the size and sha256 of both. It is
written under another name beside its place and renamed when whole; a folder whose manifest does not fit is passed over,
and the one before it is used. No pickle anywhere. The frozen base is not in it.

A second folder may get a copy of each: one that outlives the machine, such as a mounted drive. Such a folder may say
"written" long before it has written, and lose what it still holds when the machine goes. So a copy goes under a name
that was never used, its manifest last, and whether it arrived is judged when it is needed.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from lorabook.atomic import sync, write_tensors
from lorabook.errors import CheckpointError

TENSORS, STATE, MANIFEST = "state.safetensors", "state.json", "manifest.json"
ASIDE = ".old"
KEEP = 2
NAME = re.compile(rf"step-\d+(?:-(\d+))?({re.escape(ASIDE)})?")  # when it was copied; moved aside
BROKEN = (OSError, ValueError, KeyError, TypeError)
COPIES = 3  # kept in the second folder, of those seen whole: two may be on their way there when the machine goes


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read back: `tensors` by name and the JSON `state`."""

    folder: Path
    tensors: dict[str, Tensor]
    state: dict


def _digest(path: Path) -> dict:
    with open(path, "rb") as f:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(f, "sha256").hexdigest()}


def write(folder: str | Path, step: int, tensors: Mapping[str, Tensor], state: dict) -> Path:
    """Write one checkpoint and drop all but it and the one before. Either all of it is there afterwards, or nothing.

    Checkpoints of later steps, left by an earlier run in the same folder, are dropped too.

    Raises:
        CheckpointError: the folder cannot be written (no space, no permission); older checkpoints are untouched.
    """
    folder = Path(folder)
    final, partial = folder / f"step-{step:06d}", folder / f".partial-{step:06d}"
    aside = folder / f"{final.name}{ASIDE}"
    try:
        for left in folder.glob(".partial-*"):  # of a process that died
            shutil.rmtree(left, ignore_errors=True)
        partial.mkdir(parents=True)
        write_tensors(partial / TENSORS, tensors)
        (partial / STATE).write_text(json.dumps(state), encoding="utf-8")
        manifest = {name: _digest(partial / name) for name in (TENSORS, STATE)}
        for name in (TENSORS, STATE):
            sync(partial / name)
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        sync(partial / MANIFEST)
        if final.exists():  # the same step again: what is there stays valid until the new one is in place
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(final, aside)
        os.replace(partial, final)
        if os.name == "posix":
            sync(folder)
    except Exception as e:  # safetensors reports a full disk with an error class of its own
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(
            f"The checkpoint of step {step} could not be written to {folder} ({e}).",
            "Free some space, or make the folder writable: earlier checkpoints are intact.",
        ) from e
    shutil.rmtree(aside, ignore_errors=True)
    found = _folders(folder)
    here = found.index(final)
    for old in found[:here] + found[here + KEEP :]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def copy(place: Path, folder: str | Path) -> Path:
    """Copy the checkpoint `place` to another folder, under a name that was never used there, its manifest last.

    Copies of later steps, left by an earlier run, are dropped; so are those older than the newest COPIES whole ones.

    Raises:
        CheckpointError: the folder cannot be written; the copies that are there are untouched.
    """
    folder = Path(folder)
    final = folder / f"{place.name}-{time.time_ns()}"
    try:
        final.mkdir(parents=True)
        for name in (TENSORS, STATE, MANIFEST):
            shutil.copyfile(place / name, final / name)
            with contextlib.suppress(FileNotFoundError):  # it may show up later
                sync(final / name)
        found = _folders(folder)
        later = [p for p in found if _step(p) > _step(place)]
        ours = found[len(later) :]
        whole = [p for p in ours if _is_whole(p)] if len(ours) > COPIES else []
        old = ours[ours.index(whole[COPIES - 1]) + 1 :] if len(whole) >= COPIES else []
    except OSError as e:
        shutil.rmtree(final, ignore_errors=True)
        raise CheckpointError(
            f"The checkpoint {place.name} could not be copied to {folder} ({e}).",
            f"Mount the drive again, or make space on it: the checkpoint is whole in {place.parent}.",
        ) from e
    for each in later + old:
        shutil.rmtree(each, ignore_errors=True)
    return final


def _folders(*folders: Path) -> list[Path]:
    """Checkpoint folders, newest first. Of the same step, those in the first of `folders` come first."""
    found = []
    for preference, folder in enumerate(folders):
        for p in folder.glob("step-*"):
            if (name := NAME.fullmatch(p.name)) and p.is_dir():
                copied, aside = name.groups()
                found.append((_step(p), -preference, int(copied or 0), not aside, p))
    return [p for *_, p in sorted(found, reverse=True)]


def _step(place: Path) -> int:
    return int(place.name.split("-")[1].removesuffix(ASIDE))


def _check(place: Path) -> None:
    """Hold what lies in a checkpoint folder against its manifest; one of BROKEN is raised where it does not fit."""
    manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
    for name in (TENSORS, STATE):
        if _digest(place / name) != manifest[name]:
            raise ValueError(f"{name} is not the one that was written")


def _is_whole(place: Path) -> bool:
    try:
        _check(place)
    except BROKEN:
        return False
    return True


def latest(*folders: str | Path) -> Checkpoint | None:
    """The newest whole checkpoint in `folders`, or None where there is none. A damaged one is passed over and said so.

    Raises:
        CheckpointError: there are checkpoints, and every one of them is damaged; or a folder cannot be read.
    """
    named = " and ".join(map(str, folders))
    try:
        found = _folders(*map(Path, folders))
    except OSError as e:
        raise CheckpointError(f"{named} cannot be read ({e}).", "Mount the drive again, or leave it out.") from e
    for place in found:
        try:
            _check(place)
            state = json.loads((place / STATE).read_text(encoding="utf-8"))
            return Checkpoint(place, load_file(place / TENSORS), state)
        except BROKEN as e:
            warnings.warn(f"The checkpoint {place} is damaged ({e}); trying the one before it.", stacklevel=2)
    if found:
        raise CheckpointError(f"Every checkpoint in {named} is damaged.", "Start anew without resuming.")
    return None


def share(whole: Tensor, like: Tensor) -> Tensor:
    """Of a tensor that every process has read, what `like` holds of it: its shard, or all of it. On its device."""
    whole = whole.to(like.device)
    if not isinstance(like, DTensor):
        return whole
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


def optimizer_tensors(optimizer: torch.optim.Optimizer, named: Sequence[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """The optimizer's state as tensors `optimizer.<kind>.<parameter>`, its parameters called as in `named`."""
    return {
        f"optimizer.{kind}.{name}": value for name, p in named for kind, value in optimizer.state.get(p, {}).items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, named: Sequence[tuple[str, Tensor]], tensors: Mapping[str, Tensor]
) -> None:
    """Put back what `optimizer_tensors` took."""
    parameters = dict(named)
    optimizer.state.clear()
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, kind, name = key.split(".", 2)
            p = parameters[name]
            optimizer.state[p][kind] = value.clone() if kind == "step" else share(value, p).clone()


def random_tensors() -> dict[str, Tensor]:
    """The random states that dropout draws from."""
    states = {"rng.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["rng.cuda"] = torch.cuda.get_rng_state()
    return states


def restore_random(tensors: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(tensors["rng.cpu"])
    if torch.cuda.is_available() and "rng.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["rng.cuda"])
