"""What is said never ends a run: a pipe that nobody reads any more, letters that cannot be encoded."""

import contextlib
import io
import subprocess
import sys

import pytest

from lorabook import console

TALK = """
import sys
from lorabook.console import say
for n in range(2000):
    say(f"line {n} of a run that must go on, whoever is listening")
open(sys.argv[1], "w").write("the run has saved")
"""


def test_a_closed_pipe_ends_nothing(tmp_path):
    saved = tmp_path / "saved"
    command = f"{sys.executable} -c '{TALK}' {saved} | head -2; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[:2] == [f"line {n} of a run that must go on, whoever is listening" for n in (0, 1)]
    assert (done.stdout.splitlines()[-1], done.stderr) == ("0", "")
    assert saved.read_text() == "the run has saved"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_letters_that_cannot_be_encoded_are_replaced(encoding, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    console.say("held-out loss: 3.49 → 3.02")
    assert raw.getvalue().decode(encoding).split() == ["held-out", "loss:", "3.49", "?", "3.02"]


def test_no_stream_at_all_is_no_error():
    with contextlib.redirect_stdout(None):
        console.say("anyone?")


def test_a_stream_that_is_closed_altogether_is_no_error(monkeypatch):
    closed = io.TextIOWrapper(io.BytesIO())
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    console.say("anyone?")
    console.say("no one")
