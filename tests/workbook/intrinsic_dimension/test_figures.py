"""The figures: the numbers given are the numbers drawn."""

import numpy as np
import pytest

from lorabook.workbook.intrinsic_dimension.figures import (
    draw_shares,
    loss_curves,
    pair_losses,
    score_curve,
    share_curve,
    toy_losses,
)
from lorabook.workbook.intrinsic_dimension.measure import Curve, Point

RUNS = {20: [(0, 3.0, 3.2), (10, 1.0, 3.3)], 80: [(0, 3.1, 3.2), (10, 2.0, 3.0)]}
CURVE = Curve((Point(10, (3.0, 2.8)), Point(100, (2.2, 2.3)), Point(1000, (2.05, 2.07))), full=2.0, start=3.0)
OTHER = Curve((Point(100, (7.0, 7.2)),), full=6.0, start=8.0)


def lines(axes, marker: str) -> list[tuple[list, list]]:
    return [
        (list(np.atleast_1d(line.get_xdata())), list(np.atleast_1d(line.get_ydata())))
        for line in axes.get_lines()
        if line.get_marker() == marker
    ]


def levels(axes) -> list[float]:
    """Where lines lie level across the whole axis."""
    return [line.get_ydata()[0] for line in axes.get_lines() if list(line.get_xdata()) == [0, 1]]


def upright(axes) -> list[float]:
    return [line.get_xdata()[0] for line in axes.get_lines() if list(line.get_ydata()) == [0, 1]]


def notes(axes) -> str:
    return "\n".join(text.get_text() for text in axes.texts)


def test_pair_losses_are_held_out_left_and_training_right():
    held, train = pair_losses(RUNS, "see").axes
    assert [y for _, y in lines(held, "o") + lines(held, "s")] == [[3.2, 3.3], [3.2, 3.0]]
    assert [y for _, y in lines(train, "o") + lines(train, "s")] == [[3.0, 1.0], [3.1, 2.0]]
    assert levels(held) == [3.2]
    assert [t.get_text() for t in held.get_legend().get_texts()] == ["20 pairs", "80 pairs", "before training"]


def test_toy_losses_are_dots_and_zero_is_drawn_at_the_floor():
    (axes,) = toy_losses({9: [4.0, 2.0], 10: [0.0, 1e-28]}, 10, "see").axes
    assert lines(axes, "o") == [([9, 9], [4.0, 2.0]), ([10, 10], [1e-14, 1e-14])]
    assert upright(axes) == [10] and axes.get_yscale() == "log"


def test_score_curve_marks_ninety_percent_of_the_gain_and_d90():
    (axes,) = score_curve(CURVE, "loss", "see").axes
    assert levels(axes) == pytest.approx([2.0, 3.0 - 0.9])
    assert upright(axes) == [1000] and "d90 = 1,000" in notes(axes)
    assert lines(axes, "o")[0] == ([10, 10], [3.0, 2.8])


def test_shares_are_those_of_the_curve_and_the_line_is_the_mean_or_one_seed():
    (axes,) = share_curve(CURVE, "see").axes
    means = [y for x, y in lines(axes, "None") if x == [10, 100, 1000]]
    assert means == [pytest.approx([share for _, share in CURVE.shares])]
    assert [y for _, y in lines(axes, "o")][1] == pytest.approx([0.8, 0.7])
    assert levels(axes) == [1, 0.9]
    axes.clear()
    draw_shares(axes, CURVE, seed=1)
    (shown,) = [y for x, y in lines(axes, "None") if x == [10, 100, 1000]]
    assert shown == pytest.approx([0.2, 0.7, 0.93])


def test_a_curve_below_the_line_has_no_d90():
    (axes,) = share_curve(Curve(CURVE.points[:2], full=2.0, start=3.0), "see").axes
    assert upright(axes) == [] and "d90" not in notes(axes)


def test_a_share_below_zero_stays_in_the_picture():
    (axes,) = share_curve(Curve((Point(10, (3.5,)), Point(100, (2.0,))), full=2.0, start=3.0), "see").axes
    assert axes.get_ylim()[0] < -0.5


def test_loss_curves_are_in_nats_with_every_level_named():
    (axes,) = loss_curves({"pre-trained": CURVE, "random": OTHER}, "see").axes
    assert levels(axes) == [3.0, 2.0, 8.0, 6.0]
    for text in ("pre-trained, at θ0: 3.00", "random, every parameter: 6.00"):
        assert text in notes(axes)
    assert lines(axes, "o")[-1] == ([100, 100], [7.0, 7.2])
