"""The figure of notebook 09: the numbers given are the numbers drawn."""

import numpy as np
import pytest

from lorabook.workbook.final_run.figures import learning_curve
from lorabook.workbook.kit.stored import stored


def test_the_curve_is_over_the_questions_seen():
    runs = [
        {"seed": seed, "steps": 4, "questions": 40, "held_out": [[0, 3.0], [2, 2.0 - seed], [4, 1.5]]}
        for seed in (0, 1)
    ]
    (axes,) = learning_curve(runs, "see").axes
    lines = axes.get_lines()
    assert [np.asarray(line.get_xdata()).tolist() for line in lines] == [[0, 20, 40]] * 2
    assert [np.asarray(line.get_ydata()).tolist() for line in lines] == [[3.0, 2.0, 1.5], [3.0, 1.0, 1.5]]


def test_what_the_notebook_says_of_the_first_questions():
    for run in stored("final_run", "smollm2_run")["runs"]:
        (_, before), (step, early), *_, (_, last) = run["held_out"]
        assert round(run["questions"] * step / run["steps"]) == 223
        assert (before - early) / (before - last) == pytest.approx(0.7, abs=0.02)
