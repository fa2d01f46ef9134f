"""Checkpoint folders: written whole or not at all, checked before use, copied to a drive, read back into optimizers."""

import hashlib
import json
import os
import shutil
import warnings
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from lorabook.errors import CheckpointError
from lorabook.training import checkpoint
from lorabook.training.checkpoint import (
    COPIES,
    MANIFEST,
    STATE,
    TENSORS,
    copy,
    latest,
    optimizer_tensors,
    restore_optimizer,
    write,
)


def put(folder: Path, step: int) -> Path:
    return write(folder, step, {"model.a": torch.full((2, 3), float(step))}, {"at": step})


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def at(folder: Path) -> int:
    """The step of the checkpoint that would be resumed; its tensors must agree with its state."""
    found = latest(folder)
    assert found is not None and (found.tensors["model.a"] == found.state["at"]).all()
    return found.state["at"]


def test_what_was_written_is_read_back_bit_for_bit(tmp_path):
    tensors = {
        "a": torch.tensor([0.1, -0.0, float("inf"), 1e-45]),
        "b": torch.tensor([1.5], dtype=torch.bfloat16),
        "c": torch.arange(5, dtype=torch.uint8),
        "d": torch.tensor(7.0),
        "transposed": torch.arange(6.0).view(2, 3).T,
    }
    place = write(tmp_path / "deep" / "er", 7, tensors, {"x": [1, None, 0.1]})
    found = latest(tmp_path / "deep" / "er")
    assert found.folder == place and found.state == {"x": [1, None, 0.1]}
    assert found.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        mine = found.tensors[name]
        assert mine.dtype == tensor.dtype and torch.equal(mine, tensor)
    with safe_open(place / TENSORS, "pt") as f:  # the public reader takes it, so it is no pickle
        assert set(f.keys()) == set(tensors)
    assert names(place) == [MANIFEST, STATE, TENSORS]


def test_only_the_newest_two_are_kept(tmp_path):
    for step in (5, 10, 15, 100):
        put(tmp_path, step)
    assert names(tmp_path) == ["step-000015", "step-000100"] and at(tmp_path) == 100


def test_a_run_started_anew_replaces_the_later_steps_of_the_run_before(tmp_path):
    for step in (5, 10, 2):
        put(tmp_path, step)
    assert names(tmp_path) == ["step-000002"] and at(tmp_path) == 2


def test_the_newest_of_steps_with_more_than_six_digits_is_found(tmp_path):
    for step in (999_999, 1_000_000):
        put(tmp_path, step)
    assert at(tmp_path) == 1_000_000
    put(tmp_path, 1_000_001)
    assert names(tmp_path) == ["step-1000000", "step-1000001"]
    put(tmp_path / "other", 999_999)
    assert latest(tmp_path / "other", tmp_path).state["at"] == 1_000_001


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """A machine that stops after the rename must find the bytes, so each file is synced before it, the folder after."""
    done, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append("sync") or fsync(descriptor))
    monkeypatch.setattr(os, "replace", lambda *places: done.append("rename") or replace(*places))
    put(tmp_path, 5)
    assert done == ["sync", "sync", "sync", "rename", "sync"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_files_get_the_permissions_of_any_new_file(tmp_path):
    put(tmp_path, 5)
    (tmp_path / "plain").touch()
    modes = {p.stat().st_mode for p in (*tmp_path.glob("step-*/*"), tmp_path / "plain")}
    assert len(modes) == 1


def test_an_empty_or_absent_folder_holds_none(tmp_path):
    assert latest(tmp_path) is None and latest(tmp_path / "absent") is None


FAILING = {
    "rename": (os, "replace"),
    "tensors": (checkpoint, "write_tensors"),
    "digest": (hashlib, "file_digest"),
    "flush": (os, "fsync"),
}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("I/O error")])
@pytest.mark.parametrize("where", FAILING)
def test_a_failed_write_leaves_the_earlier_ones_and_nothing_else(where, error, tmp_path, monkeypatch):
    put(tmp_path, 5)
    put(tmp_path, 10)
    before = names(tmp_path)

    def fail(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(*FAILING[where], fail)
        with pytest.raises(CheckpointError, match="step 15 could not be written"):
            put(tmp_path, 15)
    assert names(tmp_path) == before and at(tmp_path) == 10
    put(tmp_path, 15)
    assert at(tmp_path) == 15


@pytest.mark.parametrize("where", FAILING)
def test_a_process_that_dies_in_the_middle_leaves_the_earlier_ones(where, tmp_path, monkeypatch):
    """No clean-up runs when a process is killed, so what it leaves must be out of the way."""
    put(tmp_path, 5)

    class Killed(BaseException):
        pass

    def die(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(*FAILING[where], die)
        with pytest.raises(Killed):
            put(tmp_path, 10)
    assert at(tmp_path) == 5
    put(tmp_path, 15)
    assert at(tmp_path) == 15 and names(tmp_path) == ["step-000005", "step-000015"]


@pytest.mark.parametrize("renames", [0, 1])
def test_writing_a_step_again_never_leaves_a_moment_without_it(renames, tmp_path, monkeypatch):
    put(tmp_path, 5)
    rename, done = os.replace, []

    def fail_later(*args):
        if len(done) == renames:
            raise OSError("killed")
        done.append(rename(*args))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail_later)
        with pytest.raises(CheckpointError):
            write(tmp_path, 5, {"model.a": torch.zeros(1)}, {"at": 0})
    assert at(tmp_path) == 5
    for value in (6, 7, 8):
        write(tmp_path, 5, {"model.a": torch.full((1,), float(value))}, {"at": value})
        assert at(tmp_path) == value and names(tmp_path) == ["step-000005"]


def truncate(place: Path) -> None:
    data = (place / TENSORS).read_bytes()
    (place / TENSORS).write_bytes(data[:-5])


def flip(place: Path) -> None:
    data = bytearray((place / TENSORS).read_bytes())
    data[-1] ^= 1  # in the numbers, where safetensors itself would not notice
    (place / TENSORS).write_bytes(data)


def edit_state(place: Path) -> None:
    (place / STATE).write_text(json.dumps({"at": 11}))


def drop(name: str):
    return lambda place: (place / name).unlink()


def spoil(text: str):
    return lambda place: (place / MANIFEST).write_text(text)


DAMAGE = {
    "truncated": truncate,
    "a flipped bit": flip,
    "an edited state": edit_state,
    "no manifest": drop(MANIFEST),
    "no tensors": drop(TENSORS),
    "no state": drop(STATE),
    "half a manifest": spoil('{"state.js'),
    "a manifest of something else": spoil("[]"),
    "an empty manifest": spoil("{}"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(damage, tmp_path):
    put(tmp_path, 5)
    DAMAGE[damage](put(tmp_path, 10))
    with pytest.warns(UserWarning, match="step-000010 is damaged") as warned:
        assert at(tmp_path) == 5
    assert warned[0].filename == __file__, "the warning should point at the line that resumes"


@pytest.mark.parametrize("damage", DAMAGE)
def test_all_damaged_is_an_error(damage, tmp_path):
    for step in (5, 10):
        DAMAGE[damage](put(tmp_path, step))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(CheckpointError, match=r"Every checkpoint in .* is damaged"):
            latest(tmp_path)


def test_a_checkpoint_copied_elsewhere_is_still_good(tmp_path):
    put(tmp_path / "here", 5)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert at(tmp_path / "there") == 5


def copied(folder: Path, step: int) -> Path:
    """A checkpoint of its own in `folder`/here, copied to `folder`/there."""
    return copy(put(folder / "here", step), folder / "there")


def test_a_copy_is_the_checkpoint_under_a_name_that_was_never_used(tmp_path):
    """Writing over a file that a drive has not finished with is what loses it."""
    place, again = copied(tmp_path, 5), copied(tmp_path, 5)
    assert place.parent == tmp_path / "there" and place.name.startswith("step-000005-")
    for file in (TENSORS, STATE, MANIFEST):
        assert (place / file).read_bytes() == (tmp_path / "here" / "step-000005" / file).read_bytes()
    assert names(tmp_path / "there") == [place.name, again.name]
    shutil.rmtree(tmp_path / "here")
    assert at(tmp_path / "there") == 5 and latest(tmp_path / "there").folder == again


def test_each_file_is_on_the_drive_before_the_next_and_the_manifest_comes_last(tmp_path, monkeypatch):
    """A folder that is seen half then has no manifest, or one that its files do not fit."""
    place, order = put(tmp_path / "disk", 5), []
    copyfile = shutil.copyfile
    monkeypatch.setattr(shutil, "copyfile", lambda a, b: (order.append(("written", b.name)), copyfile(a, b)))
    monkeypatch.setattr(checkpoint, "sync", lambda path: order.append(("synced", path.name)))
    copy(place, tmp_path / "drive")
    assert order == [(done, name) for name in (TENSORS, STATE, MANIFEST) for done in ("written", "synced")]


def test_a_drive_that_shows_a_file_late_gets_its_copy(tmp_path, monkeypatch):
    def not_there_yet(path):
        raise FileNotFoundError(path)

    place = put(tmp_path / "disk", 5)
    monkeypatch.setattr(checkpoint, "sync", not_there_yet)
    assert at(copy(place, tmp_path / "drive").parent) == 5


def test_the_newest_of_two_folders_is_used_and_at_the_same_step_that_of_the_first(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    place = copied(tmp_path, 5)
    assert latest(here, there).folder == here / "step-000005" and latest(there, here).folder == place
    assert latest(tmp_path / "absent", there).folder == place
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        put(here, 7)
        assert latest(here, there).state == latest(there, here).state == {"at": 7}
    truncate(here / "step-000007")
    truncate(here / "step-000005")
    with pytest.warns(UserWarning, match=r"step-00000[57] is damaged") as caught:
        assert latest(here, there).folder == place
    assert len(caught) == 2


@pytest.mark.parametrize("damage", [truncate, drop(STATE)])
def test_copies_are_dropped_only_where_enough_whole_ones_are_seen(damage, tmp_path):
    there, places = tmp_path / "there", [copied(tmp_path, step) for step in (1, 2, 3)]
    assert len(places) == COPIES
    damage(places[1])
    places.append(copied(tmp_path, 4))
    assert names(there) == [p.name for p in places]  # of four, three are whole: the oldest is the third
    places.append(copied(tmp_path, 5))
    assert names(there) == [p.name for p in places[2:]]
    late = copied(tmp_path, 4)  # of a run that went back: what is later is of the run before
    assert names(there) == [p.name for p in (*places[2:4], late)] and latest(there).folder == late


def failing(*arguments, **named):
    raise OSError(107, "Transport endpoint is not connected")


def half(source: Path, target: Path) -> None:
    target.write_text("half")
    failing()


@pytest.mark.parametrize(
    ("where", "how"), [((shutil, "copyfile"), half), ((checkpoint, "sync"), failing), ((Path, "mkdir"), failing)]
)
def test_a_copy_that_fails_leaves_nothing_and_drops_nothing(where, how, tmp_path, monkeypatch):
    before = [copied(tmp_path, step).name for step in (1, 2, 3, 4)][1:]
    with monkeypatch.context() as patch:
        patch.setattr(*where, how)
        with pytest.raises(CheckpointError, match=r"step-000004 could not be copied to .*Transport") as caught:
            copy(tmp_path / "here" / "step-000004", tmp_path / "there")
    assert str(tmp_path / "here") in caught.value.advice and names(tmp_path / "there") == before


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    copied(tmp_path, 1)
    monkeypatch.setattr(Path, "is_dir", failing)
    with pytest.raises(CheckpointError, match=r"cannot be read .*Transport"):
        latest(tmp_path / "there")


def net() -> nn.Module:
    """Parameter names that end alike, or are prefixes of each other."""
    torch.manual_seed(0)
    model = nn.Module()
    model.weight = nn.Parameter(torch.randn(3))
    model.lm_head = nn.Linear(2, 2)
    model.lm = nn.ModuleDict({"head": nn.Linear(2, 2)})
    return model


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        for i, p in enumerate(model.parameters()):
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(100 * step + i))
        optimizer.step()


def test_a_restored_optimizer_goes_on_as_the_one_that_never_stopped(tmp_path):
    """torch's own optimizer is the oracle: its state restored from the file must drive the same weights."""
    model = net()
    whole = torch.optim.AdamW(model.parameters(), lr=0.1)
    train(model, whole, range(3))
    other, named = deepcopy(model), list(model.named_parameters())
    write(tmp_path, 3, optimizer_tensors(whole, named) | {"model.weight": torch.ones(3), "rng.cpu": torch.ones(3)}, {})
    train(model, whole, range(3, 6))

    fresh = torch.optim.AdamW(other.parameters(), lr=0.1)
    restore_optimizer(fresh, list(other.named_parameters()), latest(tmp_path).tensors)
    assert {len(s) for s in fresh.state.values()} == {3}
    train(other, fresh, range(3, 6))
    for p, q in zip(model.parameters(), other.parameters()):
        assert torch.equal(p, q)
    mine, theirs = fresh.state_dict()["state"], whole.state_dict()["state"]
    assert all(torch.equal(mine[i][k], theirs[i][k]) for i in theirs for k in theirs[i])


def test_the_random_state_of_a_gpu_travels_too(monkeypatch):
    state, put_back = torch.arange(3, dtype=torch.uint8), []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: state)
    monkeypatch.setattr(torch.cuda, "set_rng_state", put_back.append)
    kept = checkpoint.random_tensors()
    checkpoint.restore_random(kept)
    assert [t.tolist() for t in put_back] == [state.tolist()]
    checkpoint.restore_random({"rng.cpu": kept["rng.cpu"]})  # of a run that had no GPU
    assert len(put_back) == 1


def test_random_states_come_back():
    before = torch.get_rng_state()
    try:
        torch.manual_seed(3)
        kept = checkpoint.random_tensors()
        first = torch.rand(4)
        torch.rand(9)
        checkpoint.restore_random(kept)
        assert torch.equal(torch.rand(4), first)
    finally:
        torch.set_rng_state(before)
