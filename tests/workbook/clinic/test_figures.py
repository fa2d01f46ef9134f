"""The figure: each run beside the same run without its fault."""

from lorabook.training.history import History, Step
from lorabook.workbook.clinic.cases import StoredRun
from lorabook.workbook.clinic.figures import runs, token_losses


def run(losses: list[float]) -> StoredRun:
    steps = [Step(i + 1, loss, 1e-3, loss / 2, 10, 5, 0.1, 0) for i, loss in enumerate(losses)]
    history = History(steps, [(0, losses[0]), (len(losses), losses[-1])], "finished")
    return StoredRun(history, 1e-3, {}, 1.0)


def test_each_panel_shows_the_broken_run_and_the_fixed_one_and_writes_where_they_end():
    broken = {8: run([3.0, 6.0, 5.0]), 9: run([2.0, 1.0])}
    fixed = {8: run([3.0, 2.5]), 9: run([2.0, 1.5])}
    figure = runs({8: "it climbs", 9: "it drops"}, broken, fixed)
    first, second = figure.axes
    assert [first.get_title(), second.get_title()] == ["8: it climbs", "9: it drops"]
    assert curves(first) == [[3.0, 5.0], [3.0, 6.0, 5.0], [3.0, 2.5], [3.0, 2.5], [3.0]], (
        "held-out, training; the start"
    )
    assert curves(second) == [[2.0, 1.0], [2.0, 1.5], [2.0]]
    assert [text.get_text() for text in first.texts] == ["5.00", "2.50", "3.00"], "held-out losses"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["broken", "fixed", "held-out loss", "training loss"]


def test_the_losses_of_tokens_are_bars_and_the_last_ones_are_written():
    figure = token_losses([" a", ".", "<end>"], {"this run": [1.0, 2.0, 9.6], "healthy run": [1.5, 2.5, 0.2]}, "t")
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [1.0, 2.0, 9.6, 1.5, 2.5, 0.2]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", ".", "<end>"]
    assert [text.get_text() for text in axes.texts] == ["9.6", "0.2"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["this run", "healthy run"]


def curves(axes) -> list[list[float]]:
    return [list(line.get_ydata()) for line in axes.get_lines()]
