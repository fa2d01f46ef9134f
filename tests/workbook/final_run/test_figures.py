"""The figures: what is drawn are the losses and gains given, or stored."""

from statistics import fmean

import pytest

from lorabook.workbook.final_run.figures import more_questions, token_losses
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


def test_token_losses_draws_and_writes_every_loss_with_its_token():
    losses = {"one": [("a", 0.0), (" b", 5.5)], "two": [("a", 0.25), ("\n", 0.5)]}
    figure = token_losses(losses, "see", flag_at=1, choices=8)
    for axes, (name, tokens) in zip(figure.axes, losses.items(), strict=True):
        assert axes.get_title() == name and axes.get_xlim() == figure.axes[0].get_xlim()
        assert [bar.get_width() for bar in axes.patches] == [loss for _, loss in tokens]
        assert [label.get_text() for label in axes.get_yticklabels()] == [repr(text) for text, _ in tokens]
        assert [text.get_text() for text in axes.texts] == [*(f"{loss:.2f}" for _, loss in tokens), "random guess"]
        (line,) = axes.get_lines()
        assert line.get_xdata()[0] == pytest.approx(2.0794, abs=1e-4)
