"""The figures: what is drawn are the losses and gains given, or stored."""

from statistics import fmean

import pytest

from lorabook.workbook.final_run.figures import exact_matches, more_questions
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


def test_exact_matches_are_drawn_as_shares_and_written_as_counts():
    counts = {"rule": {"training": 8, "new": 4}, "none": {"training": 6, "new": 1}}
    (axes,) = exact_matches(counts, {"training": 8, "new": 4}, "see").axes
    assert [bar.get_width() for bar in axes.patches] == [1, 0.75, 1, 0.25]
    written = [text.get_text().removesuffix(" questions") for text in axes.texts]
    assert written == ["8 of 8 training", "6 of 8 training", "4 of 4 new", "1 of 4 new"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["rule", "none"]
