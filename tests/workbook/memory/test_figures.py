"""The figures: the sizes given are the sizes drawn."""

import pytest
from matplotlib.colors import to_hex

from lorabook.memory.dry_run import dry_run
from lorabook.memory.plan import Plan
from lorabook.workbook.kit.figures import GREY, ORANGE
from lorabook.workbook.memory.figures import kept_by_case, step_over_time

CASES = {"all frozen": 28.8, "full": 52.8, "all": 53.8}


def test_cases_are_drawn_from_top_to_bottom_in_two_parts():
    (axes,) = kept_by_case(CASES, "all frozen").axes
    frozen, trained = axes.containers
    assert [label.get_text() for label in axes.get_yticklabels()] == list(CASES)[::-1]
    assert [bar.get_width() for bar in frozen] == [28.8] * 3
    ends = [bar.get_x() + bar.get_width() for bar in trained]
    assert ends == pytest.approx(list(CASES.values())[::-1])
    assert {to_hex(bar.get_facecolor()) for bar in frozen} == {GREY.lower()}
    assert {to_hex(bar.get_facecolor()) for bar in trained} == {ORANGE.lower()}
    assert [text.get_text().strip() for text in axes.texts][:3] == ["53.8", "52.8", "28.8"]


def test_a_step_is_drawn_with_its_peak():
    run = dry_run("pocket", Plan(1.0, batch=2, sequence=64))
    (axes,) = step_over_time({"full": run}, ("T4", 2**34), "see").axes
    _, line, mark, *_ = axes.get_lines()
    assert line.get_label() == "full" and max(line.get_ydata()) == pytest.approx(run.peak / 2**30, abs=1e-3)
    assert mark.get_ydata()[0] == max(line.get_ydata())
    assert min(line.get_xdata()) == 0 and max(line.get_xdata()) == 3
