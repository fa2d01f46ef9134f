"""The figures: every example is counted, and the steps of the waterfall lead from base to tuned."""

import pytest

from lorabook.training.evaluate import QuestionGain
from lorabook.workbook.final_run import figures


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (QuestionGain(4.5, 4.6, 10), QuestionGain(3.7, 3.9, 10)),
        (QuestionGain(4.5, 4.9, 10), QuestionGain(3.7, 3.8, 10)),  # the question helps less than before
        (QuestionGain(4.5, 4.5, 10), QuestionGain(3.7, 3.7, 10)),
    ],
)
def test_waterfall_leads_from_base_to_tuned(before, after):
    (axes,) = figures.fall_waterfall(before, after).axes
    base, manner, question, tuned = axes.patches
    assert base.get_height() == before.own and tuned.get_height() == after.own
    assert manner.get_y() + manner.get_height() == pytest.approx(before.own)
    ends = {round(question.get_y(), 9), round(question.get_y() + question.get_height(), 9)}
    assert ends == {round(manner.get_y(), 9), round(after.own, 9)}


def test_histogram_counts_every_row():
    (axes,) = figures.length_histogram([10, 20, 20, 500], 512).axes
    assert sum(bar.get_height() for bar in axes.patches) == 4
    assert axes.get_title() == "No row of 4 reaches the cut"
    (axes,) = figures.length_histogram([10, 512, 512], 512).axes
    assert axes.get_title() == "2 of 3 rows reach the cut"
