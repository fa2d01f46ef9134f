"""Checkpoint folders: written whole or not at all, checked before use, the optimizer's state put back."""

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

from lorabook.atomic import replace_text
from lorabook.errors import CheckpointError
from lorabook.training import checkpoint
from lorabook.training.checkpoint import (
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
    "digest": (checkpoint, "_digest"),
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


def failing(*arguments):
    raise OSError(107, "Transport endpoint is not connected")


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
    order = [name for name, _ in model.named_parameters()]
    train(model, whole, range(3))
    copy = deepcopy(model)
    write(tmp_path, 3, optimizer_tensors(whole, order) | {"model.weight": torch.ones(3), "rng.cpu": torch.ones(3)}, {})
    train(model, whole, range(3, 6))

    fresh = torch.optim.AdamW(copy.parameters(), lr=0.1)
    restore_optimizer(fresh, order, latest(tmp_path).tensors)
    assert {len(s) for s in fresh.state.values()} == {3}
    train(copy, fresh, range(3, 6))
    for p, q in zip(model.parameters(), copy.parameters()):
        assert torch.equal(p, q)
    mine, theirs = fresh.state_dict()["state"], whole.state_dict()["state"]
    assert all(torch.equal(mine[i][k], theirs[i][k]) for i in theirs for k in theirs[i])


def test_an_optimizer_of_other_parameters_is_not_restored():
    optimizer = torch.optim.AdamW(net().parameters(), lr=0.1)
    with pytest.raises(ValueError):
        restore_optimizer(optimizer, ["weight"], {})


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


def test_a_text_that_cannot_be_put_in_its_place_leaves_nothing_behind(tmp_path, monkeypatch):
    replace_text(tmp_path / "a.json", "old")

    def refuse(*_):
        raise OSError("no")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no"):
        replace_text(tmp_path / "a.json", "new")
    assert names(tmp_path) == ["a.json"] and (tmp_path / "a.json").read_text() == "old"
