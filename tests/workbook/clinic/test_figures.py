"""The figures: training losses beside those of the healthy run, and the losses of an answer's last tokens."""

from lorabook.workbook.clinic.figures import last_tokens, training_losses


def test_training_losses_are_lines_with_their_names_at_the_end():
    healthy = [(3.0, 0.5), (2.5, 0.4)]
    panels = [
        {"case 9": [(3.0, 0.5), (6.0, 0.5), (5.0, 0.5)], "healthy": healthy},
        {"case 10": healthy, "healthy": healthy},
    ]
    for shown in (panels[:1], panels):
        figure = training_losses(shown, "it jumps")
        assert figure.get_suptitle() == "it jumps" and len(figure.axes) == len(shown)
        axes = figure.axes[0]
        assert [list(line.get_ydata()) for line in axes.get_lines()] == [[3.0, 6.0, 5.0], [3.0, 2.5]]
        assert [text.get_text() for text in axes.texts] == ["case 9", "healthy"]
        assert [text.xy for text in axes.texts] == [(3, 5.0), (2, 2.5)]


def test_the_losses_of_the_last_tokens_are_bars_and_those_of_the_very_last_are_written():
    (axes,) = last_tokens([" a", ".", "<end>"], [1.0, 2.0, 9.6], [1.5, 2.5, 0.2]).axes
    assert [bar.get_height() for bar in axes.patches] == [1.0, 2.0, 9.6, 1.5, 2.5, 0.2]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", ".", "<end>"]
    assert [text.get_text() for text in axes.texts] == ["9.6", "0.2"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["broken run", "healthy run"]
