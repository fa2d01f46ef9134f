"""The figures: the numbers given are the numbers drawn."""

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgb

from lorabook.workbook.many_tasks.figures import cross_losses, latencies, merge_drift

BASE = {"a": 5.0, "b": 3.0}
ADAPTERS = {"a": {"a": 4.0, "b": 3.5}, "b": {"a": 5.25, "b": 2.0}}


def lines(axes) -> dict[str, list[float]]:
    return {line.get_label(): list(line.get_ydata()) for line in axes.get_lines() if line.get_label()[0] != "_"}


def test_cells_hold_losses_and_are_coloured_by_their_distance_from_the_base():
    top, main, _ = cross_losses(BASE, ADAPTERS, "t").axes
    (image,) = main.get_images()
    assert np.allclose(image.get_array(), [[-1.0, 0.5], [0.25, -1.0]])
    assert [text.get_text() for text in top.texts] == ["5.00", "3.00"]
    cells = {text.get_position(): text.get_text() for text in main.texts}
    assert cells == {
        (0, 0): "4.00\n(−1.00)",
        (1, 0): "3.50\n(+0.50)",
        (0, 1): "5.25\n(+0.25)",
        (1, 1): "2.00\n(−1.00)",
    }
    assert [label.get_text() for label in main.get_yticklabels()] == ["adapter “a”", "adapter “b”"]


def test_no_difference_is_white_and_better_is_blue():
    _, main, _ = cross_losses(BASE, ADAPTERS, "t").axes
    (image,) = main.get_images()
    assert image.to_rgba(np.array([[0.0]]))[0, 0, :3] == pytest.approx(to_rgb("white"), abs=0.01)
    (better, worse) = image.to_rgba(np.array([[-1.0, 1.0]]))[0]
    assert better[2] > better[0] and worse[0] > worse[2]


def test_drift_has_a_place_for_zero():
    errors = {"turns": [1.0, 5.0, 40.0], "one": [0.5, 0.5, 0.5], "copy": [0.0, 0.0, 0.0]}
    (axes,) = merge_drift(errors, "t").axes
    assert lines(axes) == errors
    assert axes.get_yscale() == "symlog" and axes.get_ylim()[0] < 0
    assert list(axes.get_lines()[0].get_xdata()) == [1, 2, 3]


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
    cross_losses(BASE, ADAPTERS, "t")
    assert pyplot.get_fignums() == []
