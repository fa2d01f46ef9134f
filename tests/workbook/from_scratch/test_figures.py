"""The figures: the numbers given are the numbers drawn."""

import pytest
from matplotlib.colors import to_hex

from lorabook.workbook.from_scratch.figures import break_even, spellings, starts

MIB = 2**20
LOSSES = {"one": [0.2, 0.1, 0.0], "two": [0.2, 0.15, 0.1], "none": [0.2, 0.2, 0.2], "both": [0.4, 0.3, 0.1]}
SAVED = {
    "thin": {"x": 4 * MIB, "A x": MIB // 2},
    "formed": {"dense": 18 * MIB, "x": 4 * MIB},
    "formed twice": {"dense": 18 * MIB, "x": 4 * MIB, "A x": MIB},
}


def test_starts_draws_each_loss_under_its_name():
    (axes,) = starts(LOSSES).axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    assert drawn == LOSSES
    assert axes.get_ylim()[0] == 0 and axes.get_xlim() == (0, 2)


def test_the_four_starts_differ_in_colour_and_neighbours_in_dashes():
    (axes,) = starts(LOSSES).axes
    looks = [(line.get_color(), line.get_linestyle()) for line in axes.get_lines()]
    assert len({colour for colour, _ in looks}) == 4 and len({style for _, style in looks}) == 3


def bars_of_row(axes, row: int) -> list[tuple[str, float, float]]:
    """Colour, left end and width in MiB of every visible bar of a row, from left to right."""
    bars = [p for p in axes.patches if p.get_width() > 0 and p.get_y() + p.get_height() / 2 == pytest.approx(row)]
    return sorted([(to_hex(p.get_facecolor()), p.get_x(), p.get_width()) for p in bars], key=lambda bar: bar[1])


def test_spellings_stack_what_is_saved():
    (axes,) = spellings(SAVED).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(SAVED)
    for row, tensors in enumerate(SAVED.values()):
        bars = bars_of_row(axes, row)
        assert sorted(width for _, _, width in bars) == sorted(size / MIB for size in tensors.values())
        ends = [left + width for _, left, width in bars]
        assert [left for _, left, _ in bars] == pytest.approx([0, *ends[:-1]])
        assert f"{ends[-1]:.2f} MiB" in [text.get_text().strip() for text in axes.texts]


def test_a_tensor_has_one_colour_and_one_place_in_all_rows():
    (axes,) = spellings(SAVED).axes
    rows = [[colour for colour, *_ in bars_of_row(axes, row)] for row in range(3)]
    x, low, dense = rows[2]
    assert rows[0] == [x, low] and rows[1] == [x, dense] and len({x, low, dense}) == 3
    legend = {text.get_text() for text in axes.get_legend().get_texts()}
    assert legend == {"x", "A x", "dense"}


def test_break_even_draws_both_panels_and_the_crossing():
    tokens, forward, step = [10, 100], {"a": [1, 10], "b": [5, 5]}, {"a": [3, 30], "b": [20, 200]}
    left, right = break_even(tokens, forward, step, 50.0).axes
    a, b, crossing = left.get_lines()
    assert [list(a.get_ydata()), list(b.get_ydata())] == list(forward.values())
    assert list(crossing.get_xdata()) == [50.0, 50.0]
    assert [list(line.get_ydata()) for line in right.get_lines()] == list(step.values())
    assert [list(line.get_xdata()) for line in right.get_lines()] == [tokens, tokens]
    assert left.get_ylim() == right.get_ylim() and left.get_xscale() == left.get_yscale() == "log"
