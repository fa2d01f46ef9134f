"""The cheat sheet: its rules of thumb are notebook 03's, its commands and its example work."""

import re

import pytest
from typer.testing import CliRunner

from lorabook import cli
from lorabook.step.config import recommended_lr
from tests.kit.notebooks import CHEAT_SHEET, NOTEBOOKS, ROOT, cells

SHEET = CHEAT_SHEET.read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    return re.split(r"^## ", text.split(f"## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:\.\d+)?", re.sub(r"\[+\d\d\]\S*|\]\(\S+\)|notebook \d\d", "", text)))


def test_the_rules_are_those_of_notebook_03():
    (path,) = [path for path in NOTEBOOKS if path.name.startswith("03")]
    (cell,) = [cell["source"] for cell in cells(path) if "## A rule\n" in cell["source"]]
    rule, sheet = section(cell, "A rule"), section(SHEET, "Rules of thumb")
    used = numbers(sheet)
    rates = {f"{recommended_lr(size):g}" for size in (4e6, 1e8, 1e9)}  # what the command line starts with
    assert {"16", "32", "0.005", "0.001", "0.0005"} == used <= numbers(rule) and rates < used
    for words in (
        "all linear layers, or just the MLP",
        "eave out the embeddings and the output layer",
        "don't change it with r",
    ):
        assert words in rule and words in sheet


def test_its_commands_exist():
    commands = [line.split("  #")[0].split() for line in SHEET.splitlines() if line.startswith("lorabook ")]
    assert len(commands) >= 6
    for _, command, *arguments in commands:
        shown = CliRunner().invoke(cli.app, [command, "--help"], env={"COLUMNS": "200"})
        assert shown.exit_code == 0, command
        assert [a for a in arguments if a.startswith("--") and a not in shown.output] == []


def test_its_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", SHEET, re.DOTALL)
    exec(compile(example, "cheat_sheet.md", "exec"), {})


@pytest.mark.parametrize("page", ["README.md", "notebooks/00_start_here.ipynb"])
def test_it_is_linked(page):
    assert "cheat_sheet.md)" in (ROOT / page).read_text(encoding="utf-8")
