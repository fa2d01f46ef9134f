"""Questions with buttons: a click is answered, and a page without a kernel shows the question and no answer."""

import html

import numpy as np
import pytest

from lorabook.errors import SettingError
from lorabook.workbook.kit.question import Question
from lorabook.workbook.questions import QUESTIONS, predict
from lorabook.workbook.start import questions


def test_a_click_says_whether_it_was_right_and_why():
    question = Question("2 + 2?", ("3", "4", "<5>"), "4", "Count <b>on</b> fingers.")
    assert question.verdict.value == ""
    question.buttons[1].click()
    assert question.verdict.value.startswith("✓ Count &lt;b&gt;on")
    question.buttons[2].click()
    assert question.verdict.value.startswith("✗ 25% too large. It is: 4.")
    assert [b.button_style for b in question.buttons] == ["", "", "warning"]


@pytest.mark.parametrize(
    ("name", "guess", "line"),
    [
        ("lora_parameters", 70_000, "✓ A has"),
        ("lora_parameters", "70,000", "✓ A has"),
        ("lora_parameters", "70 thousand", "✓ A has"),
        ("lora_parameters", np.float32(69_632), "✓ A has"),
        ("lora_parameters", 700_000, "✗ 10 times too large. It is: about 70 thousand. A has"),
        ("full_finetuning", "about 8 GiB", "✗ 2.1 times too small. It is: about 17 GiB. 16 bytes"),
        ("kept_activations", "All of them", "✓ "),
        ("kept_activations", "about half", "✗ It is: all of them. "),  # words have no distance
        ("rank_64", "far", "'far' is none of the choices. Give one of: at about 2.6, at about 2.8"),
        ("kept_activations", 3, "3 is none of the choices."),
        ("digits", 0, "0 is none of the choices."),
        ("digits", -200, "-200 is none of the choices."),
        ("digits", [200], "[200] is none of the choices."),
        ("digits", "", "'' is none of the choices."),
        ("kept_activations", "abuot half", "'abuot half' is none of the choices. Did you mean about half?"),
    ],
)
def test_a_guess_in_code_is_a_number_or_words(name, guess, line, capsys):
    predict(name, guess)
    out = capsys.readouterr().out
    assert out.startswith(f"{name}: {line}") and out.count("\n") == 1


def test_without_a_guess_the_question_is_asked_and_a_misspelt_name_is_told(capsys):
    for guess in (None, ...):
        predict("toy", guess)
        assert capsys.readouterr().out.startswith("toy: no guess yet. What is the smallest d")
    predict("tyo", 10)
    assert capsys.readouterr().out.startswith("There is no question 'tyo'. Did you mean toy? Choose among: ")
    predict([1], 10)  # pyright: ignore[reportArgumentType]
    assert capsys.readouterr().out.startswith("There is no question [1].")


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_button_is_answered_as_its_words_are(name):
    question = QUESTIONS[name]()
    for button in question.buttons:
        button.click()
        assert question.verdict.value == html.escape(question.judge(button.description))
        assert question.verdict.value.startswith("✓") == (button.description == question.right)


def test_the_static_version_is_the_question_with_its_choices_and_no_answer():
    shown = Question("2 + 2?", ("3", "4"), "4", "Count.")._repr_mimebundle_()["text/plain"]
    assert shown == "2 + 2?  [3 | 4]"


def test_the_right_answer_is_a_choice():
    with pytest.raises(SettingError, match="Choose it among: 3, 5"):
        Question("2 + 2?", ("3", "5"), "4", "Count.")


def test_the_answer_of_notebook_00_is_what_its_cell_computes():
    d, k, r = 2304, 2048, 16
    assert f"{r * (d + k):,}" in questions.lora_parameters().why
