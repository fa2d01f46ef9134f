"""The figures: the numbers given are the numbers drawn."""

import pytest
from matplotlib.colors import to_hex

from lorabook.workbook.kit.figures import GREY, ORANGE
from lorabook.workbook.memory.figures import kept_by_case, token_losses

LOSSES = [0.5, 9.0, 1.0, 1.5, 2.0, 8.0, 0.25, 0.75, 3.0, 4.0]
PIECES = ["a", " b", "\n", "d", "e", " ", "g", "h", "i", "<end>"]


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_token_losses_stand_at_the_answers_places():
    (axes,) = token_losses(LOSSES, PIECES, 7).axes
    (bars,) = axes.containers
    assert [bar.get_height() for bar in bars] == LOSSES
    assert [bar.get_x() + bar.get_width() / 2 for bar in bars] == pytest.approx(range(7, 17))
    (mean,) = axes.get_lines()
    assert list(mean.get_ydata()) == pytest.approx([3.0, 3.0])


def test_the_question_is_shaded_and_meets_the_answer():
    (axes,) = token_losses(LOSSES, PIECES, 7).axes
    bars = set(axes.containers[0])
    (band,) = [patch for patch in axes.patches if patch not in bars]
    assert band.get_x() + band.get_width() == pytest.approx(6.5)


def test_token_losses_title_counts_the_dearest_fifth():
    (axes,) = token_losses(LOSSES, PIECES, 7).axes
    assert f"{(9 + 8) / 30:.0%}" in axes.get_title()


def test_the_dearest_tokens_are_named():
    (axes,) = token_losses(LOSSES, PIECES, 7).axes
    assert {"b", "␣", "i", "<end>"} <= set(texts(axes))
    assert "d" not in texts(axes)


def test_neighbours_are_not_both_named():
    losses = [1.0] * 60
    losses[20], losses[21], losses[40] = 9.0, 8.0, 7.0
    (axes,) = token_losses(losses, [str(t) for t in range(60)], 3).axes
    assert {"20", "40"} <= set(texts(axes)) and "21" not in texts(axes)


CASES = {"all frozen": 28.8, "one": 33.1, "all": 53.8, "full": 52.8}


def test_cases_are_drawn_from_top_to_bottom_in_two_parts():
    (axes,) = kept_by_case(CASES, "all frozen", "full").axes
    frozen, trained = axes.containers
    assert [label.get_text() for label in axes.get_yticklabels()] == list(CASES)[::-1]
    assert [bar.get_width() for bar in frozen] == [28.8] * 4
    ends = [bar.get_x() + bar.get_width() for bar in trained]
    assert ends == pytest.approx(list(CASES.values())[::-1])
    assert {to_hex(bar.get_facecolor()) for bar in frozen} == {GREY.lower()}
    assert {to_hex(bar.get_facecolor()) for bar in trained} == {ORANGE.lower()}


def test_cases_are_written_beside_their_bars_and_full_is_marked():
    (axes,) = kept_by_case(CASES, "all frozen", "full").axes
    assert [text.strip() for text in texts(axes)] == ["52.8", "53.8", "33.1", "28.8"]
    (line,) = axes.get_lines()
    assert list(line.get_xdata()) == [52.8, 52.8]
    assert f"{28.8 / 52.8:.0%}" in axes.get_title()
