"""Faults put in on purpose, a sample of each family; `make faults` puts in all of them."""

import importlib
import json
import sys

import pytest

faults = importlib.import_module("tests.faults.__main__")
Row = faults.Row


@pytest.mark.slow
@pytest.mark.parametrize("family", faults.existing())
def test_a_sample_of_every_family_passes(family, tmp_path):
    rows = importlib.import_module(f"tests.faults.{family}").run(1, 1, tmp_path)
    assert rows and sum(row.tries for row in rows) > 0
    assert [f"{row.fault}: {row.outcome}" for row in rows if not row.passed] == []


@pytest.mark.parametrize("passed", [True, False])
def test_one_failed_row_fails_all_and_is_marked(passed, tmp_path, monkeypatch, capsys):
    rows = [Row("a full disk", 3, "goes on", True), Row("no disk", 10, "stands still", passed)]
    monkeypatch.setattr(importlib.import_module("tests.faults.disk"), "run", lambda *arguments: rows)
    file = tmp_path / "faults.json"
    monkeypatch.setattr(sys, "argv", ["faults", "--family", "disk", "--seed", "4", "--output", str(file)])
    assert faults.main() == (not passed)
    assert capsys.readouterr().out.splitlines() == [
        "fault        tries  outcome",
        "a full disk      3  goes on",
        "no disk         10  " + "FAILED: " * (not passed) + "stands still",
    ]
    stored = json.loads(file.read_text())
    assert stored["seed"] == 4 and [row["passed"] for row in stored["families"]["disk"]["rows"]] == [True, passed]


def test_a_family_that_breaks_is_a_failed_row(monkeypatch, capsys):
    def broken(*arguments):
        raise ZeroDivisionError("in the middle")

    monkeypatch.setattr(importlib.import_module("tests.faults.disk"), "run", broken)
    monkeypatch.setattr(sys, "argv", ["faults", "--family", "disk"])
    assert faults.main() == 1 and "FAILED: ZeroDivisionError: in the middle" in capsys.readouterr().out
