"""The stored shares are the stored counts, and clear enough for what notebook 07 says of them."""

import pytest

from lorabook.workbook.kit.stored import stored
from lorabook.workbook.many_tasks.habits import stored_shares


def test_shares_are_the_counts_of_all_seeds():
    found = stored_shares()
    assert list(found) == ["base", *found["base"], "plain"]
    shown, chances = 0, 0
    for run in stored("many_tasks", "style_adapters")["models"]["pocket"]["adapters"]["camelCase"]:
        shown, chances = shown + run["counts"]["docstrings"][0], chances + run["counts"]["docstrings"][1]
    assert found["camelCase"]["docstrings"] == pytest.approx(shown / chances)
    plain = [run["+1 plain"]["docstrings"] for run in stored("many_tasks", "style_sums")["runs"]]
    assert found["plain"]["docstrings"] == pytest.approx(sum(s for s, _ in plain) / sum(n for _, n in plain))


def test_every_adapter_shows_its_habit_and_loses_the_base_s_others_as_the_control_does():
    found = stored_shares()
    for adapter in list(found)[1:]:
        assert adapter == "plain" or found[adapter][adapter] > 0.8
        for other in ("docstrings", "type hints"):
            assert adapter == other or found[adapter][other] < 0.05 < found["base"][other]
