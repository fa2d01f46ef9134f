"""The figures: the numbers given are the numbers drawn."""

from matplotlib import pyplot

from lorabook.workbook.many_tasks.figures import habits


def test_habits_are_written_in_percent_and_darker_where_more_often():
    rates = {"base": {"a": 0.1, "b": 0.2}, "a": {"a": 0.96, "b": 0.0}}
    (axes,) = habits(rates).axes
    (image,) = axes.images
    assert image.get_array().tolist() == [[0.1, 0.2], [0.96, 0.0]]
    written = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axes.texts}
    assert written == {(0, 0): "10%", (0, 1): "20%", (1, 0): "96%", (1, 1): "0%"}
    assert [t.get_text() for t in axes.get_yticklabels()] == ["base", "a"]


def test_no_figure_stays_open():
    habits({"base": {"a": 0.5}})
    assert pyplot.get_fignums() == []
