"""The figure: the losses of an answer's last tokens."""

from lorabook.workbook.clinic.figures import last_tokens


def test_the_losses_of_the_last_tokens_are_bars_and_those_of_the_very_last_are_written():
    (axes,) = last_tokens([" a", ".", "<end>"], [1.0, 2.0, 9.6], [1.5, 2.5, 0.2]).axes
    assert [bar.get_height() for bar in axes.patches] == [1.0, 2.0, 9.6, 1.5, 2.5, 0.2]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", ".", "<end>"]
    assert [text.get_text() for text in axes.texts] == ["9.6", "0.2"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["broken run", "healthy run"]
