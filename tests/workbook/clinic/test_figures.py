"""The figures: a run beside the same run without its fault, and the losses of an answer's last tokens."""

from lorabook.training.history import History, Step
from lorabook.workbook.clinic.cases import StoredRun
from lorabook.workbook.clinic.figures import last_tokens, run, two_runs


def stored(losses: list[float]) -> StoredRun:
    steps = [Step(i + 1, loss, 1e-3, loss / 2, 10, 5, 0.1, 0) for i, loss in enumerate(losses)]
    history = History(steps, [(0, losses[0]), (len(losses), losses[-1])], "finished")
    return StoredRun(history, 1e-3, {}, 1.0)


def test_a_run_is_drawn_beside_the_fixed_one_and_says_where_they_end():
    (axes,) = run(stored([3.0, 6.0, 5.0]), stored([3.0, 2.8, 2.5])).axes
    assert curves(axes) == [[3.0, 6.0, 5.0], [3.0, 5.0], [3.0, 2.5], [3.0]], "training, held-out, and the start"
    written = ["broken, training", "5.00  broken, held-out", "2.50  fixed, held-out", "3.00"]
    assert [text.get_text() for text in axes.texts] == written


def test_two_runs_have_a_panel_each():
    runs = {9: (stored([3.0, 5.0]), stored([3.0, 2.5])), 10: (stored([3.0, 3.0]), stored([3.0, 2.4]))}
    first, second = two_runs(runs, {9: "it jumps", 10: "it stays"}).axes
    assert [axes.get_title() for axes in (first, second)] == ["Case 9: it jumps", "Case 10: it stays"]
    assert curves(first) == [[3.0, 5.0], [3.0, 2.5], [3.0]] and curves(second) == [[3.0, 3.0], [3.0, 2.4], [3.0]]
    assert [text.get_text() for text in first.texts] == ["5.00  broken", "2.50  fixed", "3.00"]


def test_the_losses_of_the_last_tokens_are_bars_and_those_of_the_very_last_are_written():
    (axes,) = last_tokens([" a", ".", "<end>"], [1.0, 2.0, 9.6], [1.5, 2.5, 0.2]).axes
    assert [bar.get_height() for bar in axes.patches] == [1.0, 2.0, 9.6, 1.5, 2.5, 0.2]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", ".", "<end>"]
    assert [text.get_text() for text in axes.texts] == ["9.6", "0.2"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["broken run", "healthy run"]


def curves(axes) -> list[list[float]]:
    return [list(line.get_ydata()) for line in axes.get_lines()]
