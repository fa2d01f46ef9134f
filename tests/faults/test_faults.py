"""Faults put in on purpose, a sample of each family; `make faults` puts in all of them."""

import importlib
import json
import sys

import pytest

from lorabook.lora import LoRAConfig
from lorabook.peft_format.adapter_file import save
from tests.faults import __main__ as faults
from tests.faults import adapter_cases, code_cases, data_cases, disk, files, network
from tests.faults.rows import Row
from tests.kit.adapters import adapted
from tests.kit.families import gpt_bigcode

SAMPLES = {"files": 2, "data": 3}  # tries of each kind, 1 for the other families
QUICK, STUB = ("files",), ("network",)


def marked(family: str):
    slow = [] if family in QUICK else [pytest.mark.slow]
    return pytest.param(family, marks=[*slow, *([pytest.mark.hub] if family in STUB else [])])


@pytest.mark.parametrize("family", [marked(name) for name in faults.FAMILIES])
def test_a_sample_of_every_family_passes(family, tmp_path, monkeypatch):
    monkeypatch.setenv(files.MARK, "")  # put back after the test
    rows = importlib.import_module(f"tests.faults.{family}").run(SAMPLES.get(family, 1), 1, tmp_path)
    assert rows and all(row.tries > 0 for row in rows)
    assert [f"{row.fault}: {row.outcome}" for row in rows if not row.passed] == []


def test_the_corpus_has_what_it_promises():
    cases = list(adapter_cases.cases())
    assert len(cases) >= 60 and len({(case.kind, case.name) for case in cases}) == len(cases)
    assert len(code_cases.MODELS) >= 5 and len(list(data_cases.rows())) >= 80 and len(network.CASES) >= 20


def test_an_adapter_that_is_sound_does_not_pass_as_refused(tmp_path):
    sound = save(adapted(gpt_bigcode(), LoRAConfig(r=4, targets=files.STARCODER)), tmp_path / "sound")
    nothing = adapter_cases.Case("none", "none", adapter_cases.nothing, ".")
    assert files.problem_of(nothing, sound, tmp_path / "spoilt") == "it was loaded"
    other = adapter_cases.Case("none", "none", adapter_cases.cut(0.5), "other words")
    assert "said" in (files.problem_of(other, sound, tmp_path / "spoilt") or "")


@pytest.mark.parametrize("passed", [True, False])
def test_one_failed_row_fails_all_and_is_marked(passed, tmp_path, monkeypatch, capsys):
    rows = [Row("a full disk", 3, "goes on", True), Row("no disk", 10, "stands still", passed)]
    monkeypatch.setattr(disk, "run", lambda *arguments: rows)
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

    monkeypatch.setattr(disk, "run", broken)
    monkeypatch.setattr(sys, "argv", ["faults", "--family", "disk"])
    assert faults.main() == 1 and "FAILED: ZeroDivisionError: in the middle" in capsys.readouterr().out
