"""docs/families.md: the committed table is of today's families, holds nothing wrong, and can be made again."""

from dataclasses import astuple

import pytest

from scripts.checks import families_table as table

ROWS = [line.strip("| \n").split(" | ") for line in table.TABLE.read_text().splitlines() if line.startswith("| ")]
COMMITTED = {row[0]: row[1:] for row in ROWS[1:]}


def kind(cell: str) -> str:
    """A difference within rounding is as good as any other; a text must be the same."""
    try:
        return "equal" if float(cell) <= table.ROUNDING else "apart"
    except ValueError:
        return cell


def test_the_table_has_every_family_and_nothing_is_wrong_in_silence():
    assert len(COMMITTED) >= 30 and list(COMMITTED) == sorted(table.FAMILIES)
    cells = [kind(cell) for row in COMMITTED.values() for cell in row]
    assert len(cells) == 7 * len(COMMITTED)
    assert all(cell.startswith(("equal", "refused: ", "PEFT refuses: ", "FAILS: ")) for cell in cells)
    equal = sum(cell == "equal" for cell in cells)
    assert equal > 0.85 * len(cells), "lorabook refuses more than it does"


@pytest.mark.parametrize("family", ["llama", "gpt2", "jamba", "opt"])
def test_a_line_is_measured_again(family):
    seen = astuple(table.line(family))
    assert [kind(cell) for cell in seen] == [kind(cell) for cell in (family, *COMMITTED[family])]


def test_a_difference_larger_than_rounding_is_called_wrong(capsys, monkeypatch):
    assert table.cell(lambda folder: 0.002) == "WRONG by 2e-03" and table.cell(lambda folder: 0.0) == "0"
    monkeypatch.setattr(table, "merged", lambda family, folder: 0.002)
    assert table.main(["gpt2"]) == 1 and "WRONG by 2e-03" in capsys.readouterr().out


def test_a_refusal_is_shortened_to_what_it_says_first():
    assert table.shortened("PEFT would lose the update of fc: its weight is read (in all: 1).") == (
        "PEFT would lose the update of fc"
    )
    assert table.shortened("Phi changes its logits after the output head.") == (
        "Phi changes its logits after the output head"
    )
