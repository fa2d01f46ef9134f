"""The figures: what is drawn are the losses and gains given, or stored."""

from statistics import fmean

import pytest

from lorabook.workbook.final_run.figures import more_questions, swap, token_gains
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


def test_an_arrow_goes_from_the_loss_before_to_the_loss_after():
    losses = {"its own": (3.145, 2.598), "another": (3.424, 2.943)}
    (axes,) = swap(losses, "t").axes
    arrows = {text.xy[1]: (text.xyann[0], text.xy[0]) for text in axes.texts if text.arrow_patch}
    assert arrows == losses
    written = {text.get_text() for text in axes.texts}
    assert {"before: 3.145", "after: 2.598", "3.424", "2.943", "gain 0.547", "gain 0.481"} <= written


def test_every_letter_stands_on_the_colour_of_its_token_s_gain():
    tokens, gains = ["def", " work", "()", "\n", "x" * 80, " = 1"], [3, -3, 0, 1, 9, 0]
    axes, scale = token_gains(tokens, gains, "t").axes
    assert scale.get_xlim() == (-3, 3)
    places = {tuple(patch.get_xy()): patch.get_facecolor()[:3] for patch in axes.patches}
    letters = {(text.get_position()[0] - 0.5, int(text.get_position()[1])): text.get_text() for text in axes.texts}
    assert set(places) == set(letters) and len(letters) == sum(map(len, tokens))
    line = "".join(letters[place] for place in sorted(letters) if place[1] == 0)
    assert line == "def work()↵"
    red, _, blue = places[0, 0]  # "def", likelier
    assert blue > red
    red, _, blue = places[4, 0]  # "work", less likely
    assert red > blue
    assert min(places[8, 0]) > 0.98  # "()", as before
    assert max(place[0] for place in letters) < 88 and max(place[1] for place in letters) == 1
    assert places[0, 1] == places[0, 0]  # a gain beyond the strongest colour has that colour


def test_a_line_breaks_between_words_only():
    axes, _ = token_gains(["x" * 83, " leav", "es", " it"], [0, 1, 1, 0], "t").axes
    first = {text.get_text(): text.get_position() for text in axes.texts if text.get_text() in "leavs"}
    assert {int(y) for _, y in first.values()} == {1}
