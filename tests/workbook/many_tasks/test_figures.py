"""The figures: the numbers given are the numbers drawn."""

from matplotlib import pyplot

from lorabook.workbook.many_tasks.figures import habits


def test_habits_are_written_in_percent_of_their_opportunities_and_darker_where_more_often():
    counts = {"base": {"a": (1, 10), "b": (4, 20)}, "a": {"a": (48, 50), "b": (0, 1200)}}
    (axes,) = habits(counts).axes
    (image,) = axes.images
    assert image.get_array().tolist() == [[0.1, 0.2], [0.96, 0.0]]
    written = {}
    for text in axes.texts:
        column, row = (round(place) for place in text.get_position())
        written.setdefault((row, column), []).append(text.get_text())
    assert written == {
        (0, 0): ["10%", "of 10"],
        (0, 1): ["20%", "of 20"],
        (1, 0): ["96%", "of 50"],
        (1, 1): ["0%", "of 1,200"],
    }
    assert [t.get_text() for t in axes.get_yticklabels()] == ["base", "a"]


def test_no_figure_stays_open():
    habits({"base": {"a": (1, 2)}})
    assert pyplot.get_fignums() == []
