"""The figure: a run, and its fixed run drawn over it."""

from lorabook.training.history import History, Step
from lorabook.workbook.clinic.figures import norms, run

NAMES = ("8 examples", "whole sample")


def history(losses: list[float]) -> History:
    steps = [Step(i + 1, loss, 1e-3, loss / 2, 10, 5, 0.1, 0) for i, loss in enumerate(losses)]
    return History(steps, [(0, losses[0]), (len(losses), losses[-1])], "finished")


def test_a_run_is_its_curves_and_the_fixed_run_over_them():
    figure = run(history([3.0, 6.0, 5.0]), history([3.0, 2.5]), "t", NAMES)
    left, right = figure.axes
    curves = [list(line.get_ydata()) for line in left.get_lines() if line.get_linestyle() == "-"]
    assert curves == [[3.0, 6.0, 5.0], [3.0, 2.5]]
    assert [list(line.get_ydata()) for line in right.get_lines()] == [[1.5, 3.0, 2.5], [1.5, 1.25]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*NAMES, "training", "held-out"]
    still = run(history([0.0, 0.0]), history([0.0, 0.0]), "t", NAMES).axes[1]
    low, high = still.get_ylim()
    assert len(still.get_lines()) == 2 and low < 0 < high, "a gradient of zero lies above the axis"


def test_the_first_and_the_last_held_out_losses_are_written():
    texts = run(history([3.0, 6.0, 5.0]), history([3.0, 2.5]), "t", NAMES).axes[0].texts
    assert [text.get_text() for text in texts] == ["3.00", "5.00", "2.50"]


def test_norms_draws_two_bars_a_layer_and_writes_the_zeros():
    broken = {"t.h.0.a": 0.0, "t.h.0.b": 0.0, "t.h.1.a": 1.5, "t.h.1.b": 0.5}
    figure = norms(broken, dict(zip(broken, (1.0, 2.0, 3.0, 4.0))), "t")
    axes = figure.axes[0]
    assert [bar.get_height() for bar in axes.patches] == [1, 2, 3, 4, 0, 0, 1.5, 0.5]
    assert [text.get_text() for text in axes.texts] == ["0", "0"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["block 0", "block 1"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["fixed run", "this run"]
