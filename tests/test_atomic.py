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


@pytest.fixture
def holder(tmp_path):
    """A process that writes to the folder until its standard input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_process_is_turned_away_until_the_first_has_ended(holder, tmp_path):
    with (
        pytest.raises(SettingError, match=r"Another run is writing to .*give another output folder"),
        only_writer(tmp_path),
    ):
        pytest.fail("two writers")
    holder.kill()  # a lock that outlived its process would keep the folder closed for ever
    holder.wait()
    with only_writer(tmp_path), only_writer(tmp_path):  # the command line and the loop that it calls
        pass


def test_waiting_for_the_other_writer(holder, tmp_path):
    holder.stdin.close()
    with only_writer(tmp_path, wait=20):
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
