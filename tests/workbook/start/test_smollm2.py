"""The stored completions of SmolLM2, as notebook 00 shows them."""

from lorabook.workbook.start.smollm2 import stored_completions, stored_counts


def test_each_shown_text_has_its_habit_and_the_released_model_s_has_none():
    base, docstrings, hints, spaces = stored_completions().values()
    assert '"""' in docstrings and '"""' not in base
    assert ": str" in hints and ": str" not in base
    assert "\n  if" in spaces and "\n    with" in base


def test_the_table_holds_the_stored_counts():
    rows = stored_counts().splitlines()
    assert len(rows) == 5 and rows[1].endswith("1 of 26           16 of 17")
