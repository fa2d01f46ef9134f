"""The figure: the drops drawn are those of the losses stored."""

from statistics import fmean

import pytest

from lorabook.workbook.final_run.figures import more_questions
from lorabook.workbook.kit.stored import stored


@pytest.mark.parametrize("model", ["pocket", "smollm2"])
def test_every_number_of_questions_has_the_mean_of_its_seeds(model):
    def mean(runs):
        return pytest.approx(found["base"]["test"] - fmean(run["test"] for run in runs["runs"]))

    found = stored("rank_and_alpha", "rules")["models"][model]
    (axes,) = more_questions(model, "see").axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    by_count = {50: found["few"], 240: found["ranks"], 1500: found["capacity"]}
    if model == "smollm2":
        by_count[5000] = found["most"]
    full = [mean(part["full"]) for part in by_count.values()]
    lora = [mean((part.get("lora") or part["alpha / r"])["16"]) for part in by_count.values()]
    assert lines["full fine-tuning"] == [[count, drop] for count, drop in zip(by_count, full)]
    assert lines["LoRA, r = 16"] == [[count, drop] for count, drop in zip(by_count, lora)]
    assert [text.get_text() for text in axes.texts] == [f"{each.expected:.3f}" for each in full + lora]
