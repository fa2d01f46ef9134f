"""The figures: the numbers given are the numbers drawn."""

from matplotlib import pyplot

from lorabook.workbook.kit.figures import VERMILION
from lorabook.workbook.many_tasks.figures import habits


def test_habits_are_written_in_percent_and_red_where_a_habit_of_the_base_is_gone():
    shares = {"base": {"a": 0.1, "b": 0.2}, "a": {"a": 0.96, "b": 0.02}, "c": {"a": 0.06, "b": 0.11}}
    (axes,) = habits(shares).axes
    (image,) = axes.images
    assert image.get_array().tolist() == [[0.1, 0.2], [0.96, 0.02], [0.06, 0.11]]
    written = {text.get_position()[::-1]: text.get_text() for text in axes.texts}
    assert written == {(0, 0): "10%", (0, 1): "20%", (1, 0): "96%", (1, 1): "2%", (2, 0): "6%", (2, 1): "11%"}
    assert [text.get_text() for text in axes.texts if text.get_color() == VERMILION] == ["2%"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["base (no adapter)", "a", "c"]


def test_no_figure_stays_open():
    habits({"base": {"a": 0.5}})
    assert pyplot.get_fignums() == []
