"""The figure: the losses given are the losses drawn."""

import pytest

from lorabook.workbook.final_run.figures import more_questions


def test_every_number_of_questions_has_the_mean_of_its_seeds():
    def runs(*losses):
        return {"runs": [{"test": loss} for loss in losses]}

    examples = {
        "50": {"full": runs(2.3, 2.5), "r = 16": runs(2.3, 2.3)},
        "1500": {"full": runs(2.1, 2.2), "r = 16": runs(2.0, 2.2)},
    }
    (axes,) = more_questions({"base": {"test": 2.6}, "examples": examples}, "see").axes
    lines = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
    assert lines["full fine-tuning"].tolist() == [[50, pytest.approx(2.4)], [1500, pytest.approx(2.15)]]
    assert lines["LoRA, r = 16"].tolist() == [[50, pytest.approx(2.3)], [1500, pytest.approx(2.1)]]
    assert [text.get_text() for text in axes.texts] == ["2.30", "2.10", "before training: 2.60"]
