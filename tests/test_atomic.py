"""Files that are whole or not at all, and folders with one writer: a second process is turned away."""

import os
import subprocess
import sys
import tempfile

import pytest

from lorabook.atomic import only_writer, replace_text
from lorabook.errors import SettingError

HOLD = """
import sys
from lorabook.atomic import only_writer
with only_writer(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_turned_away_until_the_first_has_ended(tmp_path):
    """Even one that is killed: a lock that outlived its process would keep the folder closed for ever."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(SettingError, match=r"Another run is writing to .*give another output folder"),
            only_writer(tmp_path),
        ):
            pytest.fail("two writers")
        holder.kill()
        with only_writer(tmp_path, wait=20), only_writer(tmp_path):  # the command line and the loop that it calls
            pass


def test_where_no_lock_can_be_had_the_block_runs_and_nothing_is_left_in_the_folder(tmp_path, monkeypatch):
    with only_writer(tmp_path / "out"):
        pass
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file" / "below"))
    with only_writer(tmp_path / "out"):
        pass


def test_text_is_on_the_disk_before_it_replaces_what_was_there(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append("sync") or fsync(descriptor))
    monkeypatch.setattr(os, "replace", lambda *places: done.append("rename") or replace(*places))
    replace_text(tmp_path / "below" / "text", "whole")
    assert done == ["sync", "rename"] and (tmp_path / "below" / "text").read_text() == "whole"


def test_a_text_that_cannot_be_put_in_its_place_leaves_what_was_there(tmp_path, monkeypatch):
    replace_text(tmp_path / "text", "old")

    def refuse(*_):
        raise OSError("no")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no"):
        replace_text(tmp_path / "text", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["text"] and (tmp_path / "text").read_text() == "old"
