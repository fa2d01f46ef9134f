"""The figures: what is drawn are the losses and gains given, or stored."""

from statistics import fmean

import pytest

from lorabook.workbook.final_run.figures import Answer, by_token, more_questions
from lorabook.workbook.kit.stored import stored


@pytest.mark.parametrize("model", ["pocket", "smollm2"])
def test_every_number_of_questions_has_the_mean_of_its_seeds(model):
    def mean(runs):
        return pytest.approx(found["base"]["test"] - fmean(run["test"] for run in runs["runs"]))

    found = stored("rank_and_alpha", "rules")["models"][model]
    (axes,) = more_questions(model, "see").axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    few, ranks, many = found["few"], found["ranks"], found["capacity"]
    full = [mean(few["full"]), mean(ranks["full"]), mean(many["full"])]
    lora = [mean(few["lora"]["16"]), mean(ranks["alpha / r"]["16"]), mean(many["lora"]["16"])]
    if model == "smollm2":
        full.append(mean(found["most"]["full"]))
        lora.append(mean(found["most"]["lora"]["16"]))
    counts = (50, 240, 1500, 5000)
    assert lines["full fine-tuning"] == [list(point) for point in zip(counts, full)]
    assert lines["LoRA, r = 16"] == [list(point) for point in zip(counts, lora)]
    assert [text.get_text() for text in axes.texts] == [f"{each.expected:.3f}" for each in full + lora]


def test_every_token_of_an_answer_is_shown_and_those_with_a_high_loss_stand_out():
    how = Answer("How?", ("Run", " `", "t", "<|endoftext|>"), (0.0, 0.4, 2.67, 0.1), "Run `t")
    why = Answer("Why?", ("a", " b"), (9.0, 5.0), "a c")
    (axes,) = by_token([how, why], "see").axes
    texts = [text.get_text() for text in axes.texts]
    assert texts[:3] == ["question", "right answer, by token", "the model's answer"]
    assert texts[3:9] == ["How?", "Run", "`", "t", "2.7", "END"] and texts[9] == "Run `t ✓"
    assert texts[10:] == ["Why?", "a", "9.0", "b", "5.0", "a c ✗"]
    widths = [box.get_width() for box in axes.patches]
    assert widths == pytest.approx([len(text) - 0.12 for text in ("Run", " `", "t", "END", "a", " b")])
    run, space, t, end, a, b = (box.get_facecolor()[0] - box.get_facecolor()[2] for box in axes.patches)
    assert run < 0 < t and run < end < space < t < a == b  # as the losses, up to 5
