"""The ten statements: each leads to a section that exists, answers outlive the kernel, and no answer is stable."""

import json
import re
from pathlib import Path

import pytest

from lorabook.workbook.final_run.statements import STATEMENTS, VERDICTS, Board, anchor, verdicts
from tests.kit.notebooks import ROOT, cells, headings


@pytest.fixture
def file(monkeypatch, tmp_path) -> Path:
    """Where the answers of this test lie."""
    monkeypatch.setenv("LORABOOK_OUTPUT", str(tmp_path / "runs" / "final"))
    return tmp_path / "runs" / "statements.json"


@pytest.fixture
def shown(monkeypatch):
    """What is displayed, as Markdown."""
    texts: list[str] = []
    monkeypatch.setattr("IPython.display.display", lambda markdown: texts.append(markdown.data))
    return texts


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:] if line[:1] == "|"]


def test_ten_statements_with_all_three_verdicts_about_equally_often():
    counts = {verdict: sum(s.verdict == verdict for s in STATEMENTS) for verdict in VERDICTS}
    assert counts == {"true": 3, "imprecise": 3, "wrong": 4}
    assert len({s.text for s in STATEMENTS}) == 10


@pytest.mark.parametrize("statement", STATEMENTS, ids=range(1, 11))
def test_the_section_that_decides_exists_and_gives_numbers(statement):
    if statement.page:
        sections = (ROOT / "notebooks" / statement.page).read_text("utf-8").split("\n## ")
        (section,) = [section for section in sections if section.startswith(f"{statement.heading}\n")]
        assert re.search(r"\d", section)
        assert statement.link.endswith(f"({statement.page}#{anchor(statement.heading)[:-1].lower()})")
        return
    path = ROOT / "notebooks" / statement.notebook
    found = headings(path)
    (start,) = [place for place, text in found if text == statement.heading]
    end = next((place for place, _ in found if place > start), len(cells(path)))
    section = cells(path)[start:end]
    measured = re.compile(r"\d\.\d")
    assert any(cell.get("outputs") or measured.search(cell["source"]) for cell in section)
    assert statement.link.endswith(f"({statement.notebook}#{anchor(statement.heading)})")


def test_the_link_does_not_tell_the_verdict_by_its_text():
    assert all(s.link.startswith(f"[notebook {s.notebook[:2]}](") for s in STATEMENTS)


def test_the_board_s_static_version_tells_no_verdict(file):
    found = Board()._repr_mimebundle_()
    assert found["text/markdown"] == "*(ten statements, with buttons: run this cell)*"
    assert "application/vnd.jupyter.widget-view+json" in found


def test_without_an_answer_nothing_is_kept(file, shown):
    board = Board()
    assert [choice.value for choice in board.choices] == [None] * 10
    for _ in range(2):
        verdicts()
    assert shown[0] == shown[1] and not file.parent.exists()
    assert [row[:2] for row in rows(shown[0])] == [[str(n), f"**{s.verdict}**"] for n, s in enumerate(STATEMENTS, 1)]


def test_what_was_said_stands_beside_the_verdict(file, shown):
    board = Board()
    board.choices[3].value, board.choices[4].value = "true", "wrong"
    assert json.loads(file.read_text("utf-8")) == {"4": "true", "5": "wrong"}
    assert [choice.value for choice in Board().choices[3:5]] == ["true", "wrong"]  # when the notebook opens again
    verdicts()
    table = rows(shown[0])
    assert table[3][1:3] == ["true", "**wrong**"] and table[4][1:3] == ["wrong", "**wrong**"]
    assert shown[0].endswith("You have 1 of 10 right.")


def test_an_answer_can_be_changed_and_taken_back(file):
    board = Board()
    board.choices[0].value = "wrong"
    board.choices[0].value = "true"
    assert json.loads(file.read_text("utf-8")) == {"1": "true"}
    board.choices[0].value = None
    assert not file.exists()


@pytest.mark.parametrize("spoiled", ["", "[]", '{"1": []}', '{"1": 7, "2": "maybe"}', "\xff"])
def test_a_spoiled_file_holds_nothing(file, spoiled, shown):
    file.parent.mkdir(parents=True)
    file.write_text(spoiled, encoding="latin-1")
    verdicts()
    assert [row[1] for row in rows(shown[0])] == [f"**{s.verdict}**" for s in STATEMENTS]  # and no column for answers
    Board().choices[2].value = "true"
    assert json.loads(file.read_text("utf-8"))["3"] == "true"


def test_an_anchor_is_the_heading_with_hyphens():
    assert anchor("Does it go faster?") == "Does-it-go-faster?"


def test_the_page_has_every_statement_with_its_verdict():
    page = (ROOT / "notebooks/more_finetune.md").read_text("utf-8").partition("## The ten statements\n")[2]
    assert [row for row in rows(page) if row[0].isdigit()] == [
        [str(n), s.text, f"**{s.verdict}**", f"{s.because} ({s.link})"] for n, s in enumerate(STATEMENTS, 1)
    ]
