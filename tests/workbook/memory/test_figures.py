"""The figures: the sizes given are the sizes drawn."""

import pytest

from lorabook.memory.dry_run import dry_run
from lorabook.memory.plan import Plan
from lorabook.workbook.memory.figures import step_over_time


def test_a_step_is_drawn_with_its_peak():
    run = dry_run("pocket", Plan(1.0, batch=2, sequence=64))
    (axes,) = step_over_time({"full": run}, "T4", "see").axes
    _, line, mark, *_ = axes.get_lines()
    assert line.get_label() == "full" and max(line.get_ydata()) == pytest.approx(run.peak / 2**30, abs=1e-3)
    assert mark.get_ydata()[0] == max(line.get_ydata())
    assert min(line.get_xdata()) == 0 and max(line.get_xdata()) == 3
