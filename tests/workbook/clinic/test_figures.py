"""The figures: runs, with their fixed ones drawn over them, and norms of B."""

from lorabook.training.history import History, Step
from lorabook.workbook.clinic.figures import norms, runs


def history(losses: list[float]) -> History:
    steps = [Step(i + 1, loss, 1e-3, loss / 2, 10, 5, 0.1, 0) for i, loss in enumerate(losses)]
    return History(steps, [(0, losses[0]), (len(losses), losses[-1])], "finished")


def test_runs_are_their_curves_and_the_fixed_ones_over_them():
    broken = {"case 8": history([3.0, 6.0, 5.0]), "case 9": history([2.0, 1.0])}
    alone = runs(broken, "t")
    assert [axes.get_title() for axes in alone.axes] == ["case 8", "case 9"]
    assert [text.get_text() for text in alone.legends[0].get_texts()] == ["training", "held-out"]
    both = runs(broken, "t", [history([3.0, 2.5]), history([2.0, 1.5])])
    assert curves(alone.axes[0]) == [[3.0, 6.0, 5.0]]
    assert curves(both.axes[0]) == [[3.0, 6.0, 5.0], [3.0, 2.5]]
    assert curves(both.axes[1]) == [[2.0, 1.0], [2.0, 1.5]]
    assert [text.get_text() for text in both.axes[0].texts] == ["5.00", "3.00", "2.50"], "held-out losses"
    assert [text.get_text() for text in both.legends[0].get_texts()] == ["training", "held-out", "broken", "fixed"]


def curves(axes) -> list[list[float]]:
    return [list(line.get_ydata()) for line in axes.get_lines() if line.get_linestyle() == "-"]


def test_norms_draws_two_bars_a_layer_and_writes_the_zeros():
    broken = {"t.h.0.a": 0.0, "t.h.0.b": 0.0, "t.h.1.a": 1.5, "t.h.1.b": 0.5}
    figure = norms(broken, dict(zip(broken, (1.0, 2.0, 3.0, 4.0))), "t")
    axes = figure.axes[0]
    assert [bar.get_height() for bar in axes.patches] == [1, 2, 3, 4, 0, 0, 1.5, 0.5]
    assert [text.get_text() for text in axes.texts] == ["0", "0"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["block 0", "block 1"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["healthy run", "broken run"]
