"""The figures and its stored runs: the numbers given are the numbers drawn, and asked for by name."""

import math
from statistics import fmean

import numpy as np
import pytest

from lorabook.workbook.kit.stored import stored
from lorabook.workbook.kit.tuned import tuned_runs
from lorabook.workbook.rank_and_alpha import figures as figures_03
from lorabook.workbook.rank_and_alpha.valleys import three_valleys
from tests.kit.tuned_rates import assert_rate_is_bracketed


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


@pytest.mark.parametrize("product", [False, True])
def test_valleys_draw_the_means_and_seeds_and_ring_the_raced_rate(product):
    found = three_valleys()
    (axes,) = figures_03.valleys(found, "t", product=product).axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    rings = [line for line in axes.get_lines() if line.get_markersize() == 14]
    for valley, name, ring in zip(found.values(), found, rings, strict=True):
        factor = valley.alpha if product else 1
        line = lines[f"{name}: r = {valley.r}, α = {valley.alpha}"]
        assert list(line.get_xdata()) == [factor * lr for lr in valley.losses]
        assert list(line.get_ydata()) == [fmean(seeds) for seeds in valley.losses.values()]
        assert ring.get_xdata()[0] == factor * valley.raced and ring.get_color() == line.get_color()
        assert ring.get_ydata()[0] == valley.means[valley.raced]
    seeds = [y for line in axes.get_lines() if line.get_marker() == "." for y in line.get_ydata()]
    assert seeds == [loss for valley in found.values() for losses in valley.losses.values() for loss in losses]
    assert axes.get_xlabel().startswith("α × ") == product


def test_the_three_valleys_say_what_notebook_03_says():
    large, medium, small = three_valleys().values()
    for valley in (large, medium, small):
        assert_rate_is_bracketed({f"{lr:g}": loss for lr, loss in valley.means.items()}, valley.best_lr)
        assert all(len(seeds) == 3 for seeds in valley.losses.values())
    assert max(large.best_loss, medium.best_loss) < small.best_loss - 0.08
    assert small.raced == small.best_lr and small.alpha * small.raced > 19.9 * large.alpha * large.raced

    def loss_at(valley, product):
        """Between two rates, on a log scale."""
        products = [math.log(valley.alpha * lr) for lr in valley.losses]
        return float(np.interp(math.log(product), products, list(valley.means.values())))

    for product in (0.005, 0.01, 0.02, 0.04, 0.06):
        losses = [loss_at(valley, product) for valley in (large, medium, small)]
        assert max(losses) - min(losses) < 0.06, product
    at_one_rate = [loss_at(valley, valley.alpha * 2e-4) for valley in (large, medium)]
    assert at_one_rate[1] - at_one_rate[0] > 0.08  # over the learning rate alone they lie apart


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
