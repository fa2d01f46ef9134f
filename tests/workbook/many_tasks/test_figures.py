"""The figures: the numbers given are the numbers drawn."""

import pytest
from matplotlib import pyplot

from lorabook.workbook.many_tasks.figures import habits, latencies


def test_habits_are_written_in_percent_and_darker_where_more_often():
    rates = {"base": {"a": 0.1, "b": 0.2}, "a": {"a": 0.96, "b": 0.0}}
    (axes,) = habits(rates, "see").axes
    (image,) = axes.images
    assert image.get_array().tolist() == [[0.1, 0.2], [0.96, 0.0]]
    written = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axes.texts}
    assert written == {(0, 0): "10%", (0, 1): "20%", (1, 0): "96%", (1, 1): "0%"}
    assert [t.get_text() for t in axes.get_yticklabels()] == ["base", "a"]


def test_latencies_are_bars_and_the_papers_are_marks():
    ratios = {"batch 1": {"base": 1.0, "LoRA": 2.0, "bottleneck": 1.5}, "batch 16": {"base": 1.0, "LoRA": 1.2}}
    (axes,) = latencies(ratios, {"batch 1": {"bottleneck": 1.3}}, "t").axes
    bars = [bar for bar in axes.patches if bar.get_height()]
    assert [bar.get_height() for bar in bars] == [1.0, 2.0, 1.5, 1.0, 1.2]
    assert [text.get_text() for text in axes.texts] == ["1.00", "2.00", "1.50", "1.00", "1.20"]
    (mark,) = [line for line in axes.get_lines() if line.get_marker() == "D" and len(line.get_xdata())]
    third = bars[2]
    assert mark.get_xdata()[0] == pytest.approx(third.get_x() + third.get_width() / 2) and mark.get_ydata()[0] == 1.3
    assert axes.get_ylim()[0] == 0
    far, near = ({"batch 1": {"base": height}} for height in (1.0, 1.25))
    for ratios, place in ((far, 1.0), (near, 1.3)):  # a number stands at its bar, unless a mark would cover it
        (axes,) = latencies(ratios, {"batch 1": {"base": 1.3}}, "t").axes
        assert axes.texts[0].xy[1] == place


def test_no_figure_stays_open():
    habits({"base": {"a": 0.5}}, "t")
    assert pyplot.get_fignums() == []
