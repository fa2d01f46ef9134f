"""What is kept of a reader's work: by any kernel, beside the notebooks, and never at the cost of an error."""

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest

from lorabook.workbook.exercises import EXERCISES, check, progress
from lorabook.workbook.kit import kept
from tests.workbook.mistake_bank import load


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("LORABOOK_OUTPUT", str(tmp_path / "runs" / "final"))
    return tmp_path / "runs"


def test_it_lies_beside_the_runs(monkeypatch):
    monkeypatch.delenv("LORABOOK_OUTPUT")
    assert kept.kept_file("x.json") == Path("runs/x.json")


def test_what_is_taken_back_is_gone_and_so_is_the_last_one_s_file(folder):
    kept.keep("x.json", "a", None)
    assert not folder.exists()
    kept.keep("x.json", "a", 1)
    kept.keep("x.json", "b", 2)
    kept.keep("x.json", "a", None)
    assert kept.read("x.json") == json.loads((folder / "x.json").read_text()) == {"b": 2}
    kept.keep("x.json", "b", None)
    assert not (folder / "x.json").exists()


def test_a_folder_that_cannot_be_written_is_no_error(folder):
    folder.write_text("a file")
    kept.keep("x.json", "a", 1)
    assert kept.read("x.json") == {}


def _keep_some(numbers: range, output: str, together: Any) -> None:
    os.environ["LORABOOK_OUTPUT"] = output
    read = kept.read

    def read_and_wait(name: str) -> dict:
        found = read(name)
        time.sleep(0.05)  # the other kernel keeps something now
        return found

    kept.read = read_and_wait
    together.wait(60)
    for n in numbers:
        kept.keep("x.json", str(n), n)


@pytest.mark.seconds
def test_two_kernels_at_once_lose_nothing(folder):
    """A notebook open twice: the file is read, changed and written back."""
    context = multiprocessing.get_context("spawn")
    halves, together = [range(1, 6), range(6, 11)], context.Barrier(2)
    kernels = [context.Process(target=_keep_some, args=(half, str(folder / "final"), together)) for half in halves]
    for kernel in kernels:
        kernel.start()
    for kernel in kernels:
        kernel.join(120)
    assert kept.read("x.json") == {str(n): n for n in range(1, 11)}


def test_progress_marks_what_was_solved_also_when_it_was_tried_again(capsys):
    check("lora_size", lambda d, k, r: 0)
    progress()
    assert capsys.readouterr().out.splitlines()[-1] == f"0 of {len(EXERCISES)} solved"
    check("lora_size", load(EXERCISES["lora_size"].solution))
    check("lora_size", lambda d, k, r: 0)
    capsys.readouterr()
    progress()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "00  ✓ lora_size" and lines[-1] == f"1 of {len(EXERCISES)} solved"
    assert lines[2] == "02  · block_values  · largest_batch"
