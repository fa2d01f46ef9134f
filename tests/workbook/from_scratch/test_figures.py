"""The figures: the numbers given are the numbers drawn."""

from lorabook.workbook.from_scratch.figures import training


def test_training_draws_three_held_out_losses_over_the_steps():
    (axes,) = training({0: (2.7, 2.6, 2.65), 30: (1.9, 2.5, 2.4)}, "see").axes
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [[2.7, 1.9], [2.6, 2.5], [2.65, 2.4]]
    assert [text.get_text() for text in axes.texts] == [
        "docstring lines, 2.70 → 1.90",
        "other tokens, 2.60 → 2.50",
        "all tokens, 2.65 → 2.40",
    ]
