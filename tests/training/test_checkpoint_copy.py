"""Checkpoints copied to a second folder, such as a mounted drive: which are kept there, and which is resumed."""

import shutil
import warnings

import pytest

from lorabook.errors import CheckpointError
from lorabook.training import checkpoint
from lorabook.training.checkpoint import COPIES, MANIFEST, STATE, TENSORS, copy, latest
from tests.training.test_checkpoint import at, copied, drop, failing, names, put, truncate


def test_a_copy_is_whole_and_is_what_a_new_machine_resumes(tmp_path):
    place = put(tmp_path / "disk", 5)
    copied = copy(place, tmp_path / "drive" / "run")
    assert copied.parent == tmp_path / "drive" / "run" and copied.name.startswith("step-000005-")
    assert {name: (copied / name).read_bytes() for name in names(place)} == {
        name: (place / name).read_bytes() for name in (TENSORS, STATE, MANIFEST)
    }
    shutil.rmtree(tmp_path / "disk")
    assert at(tmp_path / "drive" / "run") == 5


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


def test_the_same_step_copied_again_gets_another_name(tmp_path):
    """Writing over a file that a drive has not finished with is what loses it."""
    place = put(tmp_path / "disk", 5)
    assert len({copy(place, tmp_path / "drive") for _ in range(3)}) == 3


def test_the_newest_whole_copies_are_kept_and_damaged_ones_do_not_count(tmp_path):
    for step in range(1, COPIES + 3):
        copied = copy(put(tmp_path / "disk", step), tmp_path / "drive")
        if step == COPIES + 1:
            drop(STATE)(copied)
    kept = sorted(int(name.split("-")[1]) for name in names(tmp_path / "drive"))
    assert kept == [2, 3, 4, 5]  # 4 is damaged: 5, 3 and 2 are the three whole ones


def test_a_run_started_anew_drops_the_later_copies_of_the_run_before(tmp_path):
    for step in (5, 10):
        copy(put(tmp_path / "disk", step), tmp_path / "drive")
    copy(put(tmp_path / "new disk", 7), tmp_path / "drive")
    assert at(tmp_path / "drive") == 7 and len(names(tmp_path / "drive")) == 2


def test_of_the_same_step_the_first_folder_is_used_and_else_the_newest(tmp_path):
    place = put(tmp_path / "disk", 5)
    copied = [copy(place, tmp_path / "drive") for _ in range(2)]
    assert latest(tmp_path / "disk", tmp_path / "drive").folder == place
    assert latest(tmp_path / "drive", tmp_path / "disk").folder == copied[1]
    drop(TENSORS)(place)
    with pytest.warns(UserWarning, match="damaged"):
        assert latest(tmp_path / "disk", tmp_path / "drive").folder == copied[1]
    newer = copy(put(tmp_path / "other", 6), tmp_path / "drive")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert latest(tmp_path / "disk", tmp_path / "drive").folder == newer


def test_a_drive_that_cannot_be_written_keeps_what_it_has(tmp_path, monkeypatch):
    copy(put(tmp_path / "disk", 5), tmp_path / "drive")
    before = names(tmp_path / "drive")
    place = put(tmp_path / "disk", 10)

    def full(source, target):
        target.write_text("half")
        raise OSError("no space")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(CheckpointError, match=r"step-000010 could not be copied to .*no space"):
        copy(place, tmp_path / "drive")
    assert names(tmp_path / "drive") == before and at(tmp_path / "disk") == 10


def test_a_copy_is_the_checkpoint_under_a_name_of_its_own(tmp_path):
    place = copied(tmp_path, 5)
    assert place.parent == tmp_path / "there" and place.name.startswith("step-000005-")
    for file in (TENSORS, STATE, MANIFEST):
        assert (place / file).read_bytes() == (tmp_path / "here" / "step-000005" / file).read_bytes()
    again = copied(tmp_path, 5)
    assert names(tmp_path / "there") == [place.name, again.name] and at(tmp_path / "there") == 5
    assert latest(tmp_path / "there").folder == again


def test_the_newest_of_two_folders_is_used_and_at_the_same_step_that_of_the_first(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    place = copied(tmp_path, 5)
    assert latest(here, there).folder == here / "step-000005" and latest(there, here).folder == place
    assert latest(tmp_path / "absent", there).folder == place
    put(here, 7)
    assert latest(here, there).state == latest(there, here).state == {"at": 7}
    truncate(here / "step-000007")
    truncate(here / "step-000005")
    with pytest.warns(UserWarning, match=r"step-00000[57] is damaged") as caught:
        assert latest(here, there).folder == place
    assert len(caught) == 2


def test_copies_are_dropped_only_where_enough_whole_ones_are_seen(tmp_path):
    there, places = tmp_path / "there", [copied(tmp_path, step) for step in (1, 2, 3)]
    truncate(places[1])
    places.append(copied(tmp_path, 4))
    assert names(there) == [p.name for p in places]  # of four, three are whole: the oldest is the third
    places.append(copied(tmp_path, 5))
    assert names(there) == [p.name for p in places[2:]]
    late = copied(tmp_path, 4)  # of a run that went back: what is later is of the run before
    assert names(there) == [p.name for p in (*places[2:4], late)]


def test_a_copy_that_fails_leaves_nothing_and_drops_nothing(tmp_path, monkeypatch):
    before = [copied(tmp_path, step).name for step in (1, 2, 3, 4)][1:]
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "sync", failing)
        with pytest.raises(CheckpointError, match=r"step-000004 could not be copied to .*Transport") as caught:
            copy(tmp_path / "here" / "step-000004", tmp_path / "there")
    assert str(tmp_path / "here") in caught.value.advice and names(tmp_path / "there") == before
