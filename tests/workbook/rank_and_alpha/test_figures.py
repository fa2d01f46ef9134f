"""The figures and its stored runs: the numbers given are the numbers drawn, and asked for by name."""

from statistics import fmean

import pytest

from lorabook.workbook.kit.stored import stored
from lorabook.workbook.kit.tuned import tuned_runs
from lorabook.workbook.rank_and_alpha import figures as figures_03


def test_rate_curves_fill_the_best_rate_of_each_curve():
    runs = tuned_runs()
    panels = {"one": runs, "other": {name: run for name, run in runs.items() if run.r in (None, 1, 64)}}
    left, right = figures_03.rate_curves(panels, "t").axes
    best = [(line.get_xdata()[0], line.get_ydata()[0]) for line in left.get_lines() if len(line.get_xdata()) == 1]
    full = runs["full fine-tuning"]
    assert best[0] == (full.lr, min(full.rates.values())) and len(best) == 5
    assert best[3] == (0.008, min(runs["r = 16, α = 32"].rates.values()))
    assert list(left.get_lines()[0].get_xdata()) == sorted(full.rates)
    assert [t.get_text() for t in right.get_legend().get_texts()] == ["full", "r = 1", "r = 64"]  # that ran
    assert [axes.get_title() for axes in (left, right)] == ["one", "other"]


def test_races_draw_every_loss_and_write_the_last():
    first = {"A, r = 64": [3.09, 3.05, 3.04], "C, r = 1": [3.09, 2.85, 2.8]}
    second = {"B, r = 16": [3.09, 2.8, 2.691], "A, r = 64": [3.09, 2.8, 2.69]}
    panes = figures_03.races({"one": first, "other": second}, "t").axes
    for axes, name, runs in zip(panes, ("one", "other"), (first, second)):
        assert axes.get_title() == name
        drawn = {line.get_color(): list(line.get_ydata()) for line in axes.get_lines()}
        assert drawn == {figures_03.LOOKS[label[3:]][0]: losses for label, losses in runs.items()}
        written = {text.get_text(): text.xy[1] for text in axes.texts}
        assert set(written) == {f"{label}: {losses[-1]:.2f}" for label, losses in runs.items()}
        low, high = sorted(written.values())
        assert high - low == pytest.approx(0.03) or high - low > 0.03  # one label doesn't cover the other


def test_rate_curves_by_alpha_are_the_stored_ones_at_rank_16():
    runs = tuned_runs()
    (axes,) = figures_03.rate_curves_by_alpha(runs, "t").axes
    lines = {line.get_label(): dict(zip(*line.get_data())) for line in axes.get_lines()}
    for alpha in (8, 32, 128):
        assert lines[f"α = {alpha}"] == runs[f"r = 16, α = {alpha}"].rates
    best = [line.get_xdata()[0] for line in axes.get_lines() if len(line.get_xdata()) == 1]
    assert best == [0.016, 0.008, 0.002]


def test_tuned_runs_are_those_of_the_stored_result():
    rules = stored("rank_and_alpha", "rules")["models"]["pocket"]
    runs = tuned_runs()
    assert runs["r = 4, rsLoRA"].losses == [run["test"] for run in rules["ranks"]["alpha / sqrt(r)"]["4"]["runs"]]
    with_wte = runs["all linear, embedding at 1/16"]
    assert with_wte.losses == [run["test"] for run in rules["targets"]["all linear + embeddings"]["0.0625"]]
    assert (with_wte.r, with_wte.parameters, runs["full fine-tuning"].r) == (4, 75_776, None)
    assert tuned_runs("smollm2")["r = 16, α = 32"].losses == [
        run["test"]
        for run in stored("rank_and_alpha", "rules")["models"]["smollm2"]["ranks"]["alpha / r"]["16"]["runs"]
    ]
    base = rules["base"]["test"]
    full, low = (fmean(runs[name].losses) for name in ("full fine-tuning", "r = 1, α = 32"))
    assert runs["r = 1, α = 32"].recovery == pytest.approx((base - low) / (base - full))
    assert runs["full fine-tuning"].recovery == pytest.approx(1)
    for name, run in runs.items():
        assert len(run.losses) == 3 and ("embedding at" in name or run.rates[run.lr] == min(run.rates.values())), name


def test_recovery_by_rank_draws_each_seed_and_a_line_through_the_means():
    many = tuned_runs("pocket", 1500)
    axes = figures_03.recovery_by_rank({"pocket, few": tuned_runs(), "pocket, many": many}, "t").axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    runs = [tuned_runs()[f"r = {r}, α = 32"] for r in (1, 4, 16, 64)]
    assert list(lines["pocket, few"].get_xdata()) == [1, 4, 16, 64]
    assert list(lines["pocket, few"].get_ydata()) == [run.recovery for run in runs]
    assert list(lines["pocket, many"].get_ydata()) == [many[f"r = {r}, α = 32"].recovery for r in (1, 4, 16, 64)]
    seeds = [y for line in axes.get_lines() if line.get_marker() == "." for y in line.get_ydata()]
    assert seeds[:12] == [y for run in runs for y in run.recoveries]


def test_recovery_by_layers_draws_three_choices_of_layers_and_their_values():
    runs = tuned_runs("smollm2")  # which has a fourth, "W_q and W_v"
    left, axes = figures_03.recovery_by_layers({"one": tuned_runs(), "other": runs}, "t").axes
    assert [label.get_text() for label in left.get_yticklabels()] == [
        "attention, r = 13",
        "MLP, r = 6",
        "all linear, r = 4",
    ]
    names = ["attention, r = 11", "MLP, r = 6", "all linear, r = 4"]
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert [bar.get_width() for bar in axes.patches] == [runs[name].recovery for name in names]
    assert [text.get_text() for text in axes.texts] == ["97%", "101%", "103%"]
    assert [list(line.get_xdata()) for line in axes.get_lines()] == [runs[name].recoveries for name in names]
