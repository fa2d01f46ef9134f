"""The figures and its stored runs: the numbers given are the numbers drawn, and asked for by name."""

from statistics import fmean

import pytest

from lorabook.workbook.kit.stored import stored
from lorabook.workbook.kit.tuned import tuned_runs
from lorabook.workbook.rank_and_alpha import figures as figures_03
from lorabook.workbook.rank_and_alpha.valleys import valley
from tests.kit.tuned_rates import assert_rate_is_bracketed


def test_valleys_draw_the_means_and_seeds_and_ring_a_rate():
    found = {"one": valley(64, 128), "other": valley(1, 2)}
    (axes,) = figures_03.valleys(found, "t", before=3.09, ringed=0.0128).axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    rings = [line for line in axes.get_lines() if line.get_markersize() == 14]
    for (name, each), ring in zip(found.items(), rings, strict=True):
        assert list(lines[name].get_xdata()) == list(each.losses)
        assert list(lines[name].get_ydata()) == [fmean(seeds) for seeds in each.losses.values()]
        assert ring.get_color() == lines[name].get_color()
        assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (0.0128, min(each.means[0.0128], 3.09 + 0.05))
    assert [text.get_text() for text in axes.texts if "↑" in text.get_text()] == ["↑ 6.6"]
    assert axes.get_ylim()[1] > 3.14
    seeds = [y for line in axes.get_lines() if line.get_marker() == "." for y in line.get_ydata()]
    assert seeds == [loss for each in found.values() for losses in each.losses.values() for loss in losses]
    assert not [
        line for line in figures_03.valleys(found, "t", 3.09).axes[0].get_lines() if line.get_markersize() == 14
    ]


def test_valleys_name_every_rate_that_is_the_best():
    (axes,) = figures_03.valleys({"one": valley(64, 128), "other": valley(1, 2)}, "t", before=3.09).axes
    assert [text.get_text() for text in axes.texts] == ["before training", "0.0032", "0.0128", "0.0256"]


def test_the_valleys_say_what_notebook_03_says():
    large, medium, small, low, high = (valley(*each) for each in ((64, 32), (16, 32), (1, 32), (16, 8), (16, 128)))
    for each in (large, medium, small, low, high):
        assert_rate_is_bracketed({f"{lr:g}": loss for lr, loss in each.means.items()}, each.best_lr)
        assert all(len(seeds) == 3 for seeds in each.losses.values())
    assert (large.best_lr, medium.best_lr, small.best_lr) == (0.0064, 0.0064, 0.0032)
    assert max(large.best_loss, medium.best_loss) < small.best_loss - 0.1
    for lr in (lr for lr in large.losses if lr < 0.003):  # on the way down
        assert abs(large.means[lr] - medium.means[lr]) < 0.004
        assert 0 < small.means[lr] - large.means[lr] < (0.005 if lr < 1.5e-4 else 0.045)
    assert small.means[0.0064] - small.best_loss < 0.015 and abs(large.best_loss - medium.best_loss) < 0.015
    assert medium.means[0.0128] - medium.best_loss > 1.5 * (medium.means[0.0032] - medium.best_loss)  # overshooting
    # with the same scaling, 2, at every rank
    highest, lowest = valley(64, 128), valley(1, 2)
    assert sum(len(seeds) for each in (highest, medium, lowest) for seeds in each.losses.values()) == 90
    assert highest.losses[0.0032][0] == min(highest.losses[0.0032])  # the seed of the cell is the luckiest
    assert highest.means[0.0128] > 6 and highest.best_loss < lowest.best_loss - 0.1
    # with alpha = 2
    fixed = {r: valley(r, 2) for r in (1, 16, 64)}
    for each in fixed.values():
        assert_rate_is_bracketed({f"{lr:g}": loss for lr, loss in each.means.items()}, each.best_lr)
        assert all(len(seeds) == 3 for seeds in each.losses.values())
    assert (fixed[16].best_lr, fixed[64].best_lr) == (0.0256, 0.0256)
    assert fixed[1].means[0.0256] - fixed[1].best_loss < 0.001
    assert max(fixed[16].best_loss, fixed[64].best_loss) < fixed[1].best_loss - 0.08
    for lr in (lr for lr in fixed[1].losses if lr < 0.002):  # on the left
        assert max(each.means[lr] for each in fixed.values()) - min(each.means[lr] for each in fixed.values()) < 0.005
    assert abs(fixed[16].best_loss - medium.best_loss) < 0.01
    assert (highest.best_lr, valley(16, 32).best_lr, lowest.best_lr) == (0.0032, 0.0064, 0.0128)
    assert abs(highest.means[2.5e-5] - lowest.means[8e-4]) < 0.01  # 32 times the rate
    assert abs(highest.means[2e-4] - lowest.means[3.2e-3]) < 0.01  # 16 times
    assert highest.best_lr == large.best_lr / 2
    assert (f"{large.means[0.0064]:.2f}", f"{highest.means[0.0064]:.2f}") == ("2.70", "2.80")
    assert f"{highest.best_loss:.2f}" == "2.70"
    assert (high.best_lr, medium.best_lr, low.best_lr) == (0.0032, 0.0064, 0.0128)
    assert {f"{each.best_loss:.2f}" for each in (low, medium, high)} == {"2.71", "2.72"}


@pytest.mark.parametrize("model", ["pocket", "smollm2"])
def test_rank_16_has_the_best_rate_of_240_questions_with_1_500_too(model):
    few, many = (tuned_runs(model, count)["r = 16, α = 32"] for count in (240, 1500))
    assert few.lr == many.lr


def test_smollm2_needs_no_high_rank():
    recovery = {r: tuned_runs("smollm2")[f"r = {r}, α = 32"].recovery for r in (1, 16, 64)}
    assert recovery[1] > 0.95 and recovery[64] < recovery[16] + 0.005


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


def test_what_the_notebook_says_of_both_models_recoveries():
    pocket, smollm2 = tuned_runs("pocket"), tuned_runs("smollm2")
    assert round(100 * smollm2["r = 1, α = 32"].recovery) == 98
    assert smollm2["r = 1, α = 32"].parameters > pocket["r = 16, α = 32"].parameters
    for runs, points in ((smollm2, 0), (pocket, 5)):
        assert round(100 * (runs["r = 64, α = 32"].recovery - runs["r = 16, α = 32"].recovery)) == points
