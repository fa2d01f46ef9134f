"""The figure: the losses stored are the losses drawn."""

from statistics import fmean

import pytest

from lorabook.workbook.final_run.figures import more_questions
from lorabook.workbook.kit.stored import stored


@pytest.mark.parametrize("model", ["pocket", "smollm2"])
def test_every_number_of_questions_has_the_mean_of_its_seeds(model):
    def mean(runs):
        return pytest.approx(fmean(run["test"] for run in runs["runs"]))

    found = stored("rank_and_alpha", "rules")["models"][model]
    (axes,) = more_questions(model, "see").axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    few, ranks, many = found["few"], found["ranks"], found["capacity"]
    full = [mean(few["full"]), mean(ranks["full"]), mean(many["full"])]
    lora = [mean(few["lora"]["16"]), mean(ranks["alpha / r"]["16"]), mean(many["lora"]["16"])]
    assert lines["full fine-tuning"] == [[50, full[0]], [240, full[1]], [1500, full[2]]]
    assert lines["LoRA, r = 16"] == [[50, lora[0]], [240, lora[1]], [1500, lora[2]]]
    assert axes.texts[-1].get_text() == f"before training: {found['base']['test']:.2f}"
