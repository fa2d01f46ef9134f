"""Notebook 09's question swap: its losses are those of the stored runs, after the swap that the library makes."""

from statistics import fmean

import pytest

from lorabook.data.examples import Example, swapped_questions
from lorabook.workbook.kit.stored import stored
from lorabook.workbook.kit.tuned import base_loss, tuned_runs
from tests.kit.runs import rows

SWAP = stored("final_run", "question_swap")


def gain(count: str, which: str) -> float:
    return SWAP["base"][which] - fmean(run[which] for run in SWAP["lora"][count])


def test_every_answer_gets_the_question_before_it_where_both_fit():
    examples = [Example((1, 2, 3, 9), 2, 0), Example((4, 5, 9), 1, 1), Example((6, 7, 8, 5, 9), 3, 2)]
    own, other = swapped_questions(examples, 4)
    assert own == [examples[1], examples[2]]
    assert other == [Example((1, 2, 5, 9), 2, 1), Example((4, 5, 9), 1, 2)]
    assert swapped_questions(examples, 3) == ([examples[2]], [other[1]])
    many = rows(12)
    assert [len(e.input_ids) - e.answer_start for e in swapped_questions(many, 99)[1]] == [
        len(e.input_ids) - e.answer_start for e in many[1:]
    ]


@pytest.mark.parametrize(("count", "questions"), [("50", 50), ("240", 240), ("1500", 1500)])
def test_with_their_own_questions_the_runs_are_those_of_the_rules(count, questions):
    """71 of the 100 test answers, so not the same loss; but the same runs, and about the same gain."""
    runs = tuned_runs("smollm2", questions)["r = 16, α = 32"]
    assert {run["lr"] for run in SWAP["lora"][count]} == {runs.lr}
    assert gain(count, "own") == pytest.approx(base_loss("smollm2") - fmean(runs.losses), abs=0.02)


def test_what_notebook_09_says():
    assert 0.9 < gain("50", "other") / gain("50", "own") < 0.92
    assert all(0.9 < gain(count, "other") / gain(count, "own") < 1.03 for count in SWAP["lora"])
    assert SWAP["base"]["other"] - SWAP["base"]["own"] == pytest.approx(0.31, abs=0.005) and SWAP["pairs"] == 71
