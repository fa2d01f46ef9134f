"""Questions with buttons: a click is answered, and a page without a kernel shows the question and no answer."""

import pytest

from lorabook.errors import SettingError
from lorabook.workbook.kit.question import Question
from lorabook.workbook.start import questions


def test_a_click_says_whether_it_was_right_and_why():
    question = Question("2 + 2?", ("3", "4", "<5>"), "4", "Count <b>on</b> fingers.")
    assert question.verdict.value == ""
    question.buttons[1].click()
    assert question.verdict.value.startswith("✓ Count &lt;b&gt;on")
    question.buttons[2].click()
    assert question.verdict.value.startswith("✗ It is: 4.")
    assert [b.button_style for b in question.buttons] == ["", "", "warning"]


def test_the_static_version_is_the_question_with_its_choices_and_no_answer():
    shown = Question("2 + 2?", ("3", "4"), "4", "Count.")._repr_mimebundle_()["text/plain"]
    assert shown == "2 + 2?  [3 | 4]"


def test_the_right_answer_is_a_choice():
    with pytest.raises(SettingError, match="Choose it among: 3, 5"):
        Question("2 + 2?", ("3", "5"), "4", "Count.")


def test_the_answers_of_notebook_00_are_what_its_cells_compute():
    d, k, r = 2304, 2048, 16
    assert f"{r * (d + k):,}" in questions.lora_parameters().why
    from lorabook import LoRAConfig, apply_lora
    from lorabook.models import load_model

    report = apply_lora(load_model("pocket", device="cpu").model, LoRAConfig(8, 16, targets=("all-linear",)))
    assert f"{report.trainable:,}" in questions.trained_share().why
    assert questions.trained_share().right == f"{report.trainable / (report.total - report.trainable):.1%}"
