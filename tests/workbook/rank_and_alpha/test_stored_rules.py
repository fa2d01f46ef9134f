"""The stored sweeps behind the rule for rank, scaling, rate and targets, and behind what is said of forgetting."""

from functools import cache
from statistics import fmean

import pytest

from lorabook.workbook.kit.stored import stored
from lorabook.workbook.kit.tuned import base_loss, tuned_runs
from scripts.assets import forgetting, grid, rank_rules
from tests.kit.tuned_rates import assert_rate_is_bracketed

RULES, FORGETTING = stored("rank_and_alpha", "rules"), stored("rank_and_alpha", "forgetting")


def runs_in(found: dict):
    """Every tuned setting below a part of the rules; those with MOST_QUESTIONS take the rate of another."""
    if "rates" in found:
        yield found
    elif found.get("questions") == rank_rules.MOST_QUESTIONS:
        return
    else:
        for value in found.values():
            if isinstance(value, dict):
                yield from runs_in(value)


@pytest.mark.parametrize("model", RULES["models"])
def test_every_setting_is_tuned_and_has_every_seed(model):
    stored_model = RULES["models"][model]
    settings = list(runs_in(stored_model))
    assert len(settings) >= 9
    for found in settings:
        assert_rate_is_bracketed(found["rates"], found["lr"])
        assert [run["seed"] for run in found["runs"]] == list(rank_rules.SEEDS)
        assert all(
            run["lr"] == found["lr"] and run["test"] < RULES["models"][model]["base"]["test"] for run in found["runs"]
        )


@pytest.mark.parametrize(
    "model", [m for m in RULES["models"] if "16" in RULES["models"][m]["ranks"]["alpha / sqrt(r)"]]
)
def test_at_rank_16_both_scalings_are_one(model):
    one, two = (RULES["models"][model]["ranks"][scaling]["16"] for scaling in ("alpha / r", "alpha / sqrt(r)"))
    assert [run["test"] for run in one["runs"]] == pytest.approx([run["test"] for run in two["runs"]], abs=1e-3)


@pytest.mark.parametrize("model", RULES["models"])
def test_more_questions_leave_low_ranks_further_behind(model):
    few, many = tuned_runs(model), tuned_runs(model, 1500)
    ranks = [name for name in many if name != "full fine-tuning"]
    assert ranks == [f"r = {r}, α = 32" for r in rank_rules.CAPACITY_RANKS[model]]
    assert all(fmean(many[name].losses) < fmean(few[name].losses) for name in many)
    assert all(many[name].recovery < few[name].recovery for name in ranks)


@pytest.mark.parametrize("model", RULES["models"])
def test_more_questions_help_lora_and_full_fine_tuning_alike(model):
    counts = (rank_rules.FEW_QUESTIONS, rank_rules.QUESTIONS, rank_rules.MANY_QUESTIONS)
    for method in ("full fine-tuning", "r = 16, α = 32"):
        losses = [fmean(tuned_runs(model, count)[method].losses) for count in counts]
        assert base_loss(model) > losses[0] > losses[1] > losses[2]


def test_most_questions_help_smollm2_more_at_the_rates_of_many():
    most, many, few = (
        tuned_runs("smollm2", count)
        for count in (rank_rules.MOST_QUESTIONS, rank_rules.MANY_QUESTIONS, rank_rules.FEW_QUESTIONS)
    )

    def drop(runs, method):
        return base_loss("smollm2") - fmean(runs[method].losses)

    full, lora = "full fine-tuning", "r = 16, α = 32"
    for method in (full, lora):
        assert most[method].lr == many[method].lr and len(most[method].losses) == 1
        assert drop(most, method) > drop(many, method)
    assert drop(most, lora) / drop(many, lora) == pytest.approx(1.15, abs=0.01)
    assert drop(few, lora) / drop(most, lora) == pytest.approx(2 / 5, abs=0.01)
    assert most[lora].recovery == pytest.approx(0.94, abs=0.005)
    assert drop(most, full) - drop(most, lora) == pytest.approx(0.018, abs=0.0005)
    assert abs(drop(many, full) - drop(many, lora)) < 0.01 > abs(drop(few, full) - drop(few, lora))


@pytest.mark.parametrize("model", RULES["models"])
def test_the_target_sets_spend_one_budget(model):
    parts = RULES["models"][model]["targets"]
    budget = parts["all linear"]["runs"][0]["trainable"]
    for found in parts.values():
        if "runs" in found:  # as near as a whole rank comes
            spent = found["runs"][0]["trainable"]
            assert abs(spent - budget) <= spent / found["r"] / 2


@pytest.mark.parametrize("model", FORGETTING["models"])
def test_every_method_is_seen_around_its_own_best_rate(model):
    found = FORGETTING["models"][model]
    assert set(found["methods"]) == {"full", *(f"r = {r}" for r in forgetting.RANKS)}
    for method in found["methods"].values():
        assert_rate_is_bracketed(method["rates"], method["best"])
        rates = sorted({run["lr"] for run in method["runs"]})
        assert rates == pytest.approx([method["best"] * 2.0**k for k in forgetting.AROUND])
        assert len(method["runs"]) == len(rates) * len(found["seeds"])


@pytest.mark.slow
def test_the_live_runs_are_those_of_this_code(monkeypatch):
    monkeypatch.setattr(grid, "live", cache(grid.live))  # both scripts measure one run
    assert rank_rules.LIVE == forgetting.LIVE
    assert rank_rules.live() == pytest.approx(RULES["live"], abs=0.02)
    assert forgetting.live() == pytest.approx(FORGETTING["live"], abs=0.02)


def test_lora_s_best_rate_is_2_to_32_times_full_fine_tuning_s():
    ratios = {}
    for model in RULES["models"]:
        for count in (rank_rules.FEW_QUESTIONS, rank_rules.QUESTIONS, rank_rules.MANY_QUESTIONS):
            runs = tuned_runs(model, count)
            rates = [run.lr for name, run in runs.items() if name == f"r = {run.r}, α = 32"]
            ratios[model, count] = [round(rate / runs["full fine-tuning"].lr) for rate in rates]
    assert (min(ratios["pocket", 240]), max(ratios["pocket", 240])) == (4, 8)
    assert (min(ratios["smollm2", 240]), max(ratios["smollm2", 240])) == (8, 16)
    assert (min(min(each) for each in ratios.values()), max(max(each) for each in ratios.values())) == (2, 32)


def test_on_smollm2_attention_alone_trails_by_7_to_10_thousandths():
    runs = tuned_runs("smollm2")
    names = "attention, r = 11", "MLP, r = 6", "all linear, r = 4"
    attention, mlp, everything = (fmean(runs[name].losses) for name in names)
    assert [round(attention - others, 3) for others in (mlp, everything)] == [0.007, 0.01]
