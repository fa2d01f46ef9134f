"""The figures: the numbers given are the numbers drawn."""

from lorabook.workbook.from_scratch.figures import training, which_factor


def test_training_draws_three_held_out_losses_over_the_steps():
    (axes,) = training({0: (2.7, 2.6, 2.65), 30: (1.9, 2.5, 2.4)}, "see").axes
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [[2.7, 1.9], [2.6, 2.5], [2.65, 2.4]]
    assert [text.get_text() for text in axes.texts] == [
        "docstring lines, 2.70 → 1.90",
        "other tokens, 2.60 → 2.50",
        "all tokens, 2.65 → 2.40",
    ]


def test_which_factor_draws_every_seed_and_the_means():
    found = {
        "layer": {"B zero": {"test": [0.1, 0.3]}, "A zero": {"test": [0.4, 0.6]}},
        "model": {"B zero": {"test": [2.0, 2.2]}, "A zero": {"test": [2.5, 2.5]}},
    }
    left, right = which_factor(found).axes
    for axes, part in ((left, "layer"), (right, "model")):
        dots = [list(line.get_ydata()) for line in axes.get_lines() if line.get_marker() == "o"]
        assert dots == [found[part]["B zero"]["test"], found[part]["A zero"]["test"]]
    assert [t.get_text() for t in left.texts] == ["0.200", "0.500"]
    assert [t.get_text() for t in right.texts] == ["2.100", "2.500"]
