"""The figures: what is drawn are the losses and gains given, or stored."""

from statistics import fmean

import pytest

from lorabook.workbook.final_run.figures import costs, more_questions
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


def test_a_bar_is_as_long_as_its_cost():
    (axes,) = costs({"the tool": (0.3, 1.81), "Python": (0.28, 0.345)}, "t").axes
    before, after = ([bar.get_width() for bar in bars] for bars in axes.containers)
    assert (before, after) == ([0.3, 0.28], [1.81, 0.345])
    assert [text.get_text() for text in axes.texts] == ["0.30", "0.28", "1.81", "0.34"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["the tool", "Python"]
