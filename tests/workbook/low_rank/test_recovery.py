"""Recoveries of the stored runs: fractions of each run's own improvement, and their means."""

import pytest

from lorabook.workbook.kit.stored import stored
from lorabook.workbook.kit.tuned import tuned_runs
from lorabook.workbook.low_rank import recovery

MODELS = ("pocket", "smollm2")


@pytest.mark.parametrize("model", MODELS)
def test_recovery_is_the_part_of_each_run_s_own_improvement(model):
    found, curves = stored("low_rank", "controls")["models"][model], recovery.recovered(model)
    base, runs = found["base"], found["runs"]
    for r in (1, 4, 16):
        each = [(base - run["losses"]["truncated"][str(r)]) / (base - run["test"]) for run in runs]
        assert curves["first r terms"][r] == pytest.approx(each)
        assert recovery.recoveries(model)["truncated"][r] == pytest.approx(sum(each) / len(each))
        assert curves["LoRA"][r] == tuned_runs(model)[f"r = {r}, α = 32"].recoveries


@pytest.mark.parametrize(("model", "side"), [("pocket", -1), ("smollm2", 1)])
def test_first_terms_beat_random_entries_and_the_others_lose_to_them(model, side):
    """As 04 and its page say. ΔW scaled down beats the first terms on the pocket model, and loses on SmolLM2."""
    found = recovery.recoveries(model)
    for r in (1, 4, 16):
        assert found["truncated"][r] > found["random"][r] + 0.05 and found["rest"][r] < found["random rest"][r] - 0.05
        assert 0 < side * (found["truncated"][r] - found["scaled"][r]) < 0.18
        assert found["LoRA"][r] > found["truncated"][r]
    assert found["LoRA"][1] > found["truncated"][1] + 0.2


def test_the_numbers_that_notebook_04_names():
    pocket, smollm2 = (recovery.recoveries(model) for model in MODELS)
    ranks_1 = [found[way][1] for found in (pocket, smollm2) for way in ("LoRA", "truncated")]
    assert [f"{mean:.0%}" for mean in ranks_1] == ["76%", "51%", "98%", "77%"]
    rest = [f"{smollm2['rest'][r]:.0%}" for r in (1, 4, 16)]
    assert rest == ["80%", "57%", "31%"] and f"{smollm2['truncated'][16]:.0%}" == "100%"
    assert f"{smollm2['scaled'][4]:.0%}" == "86%"
    assert (f"{smollm2['truncated'][4]:.0%}", f"{smollm2['LoRA'][4]:.0%}") == ("95%", "102%")


def test_on_smollm2_every_seed_agrees():
    curves = recovery.by_stored_name("smollm2")
    lora, first, shrunk = (curves[way] for way in ("LoRA", "truncated", "scaled"))
    assert all(min(lora[r]) > max(first[r]) and min(first[r]) > max(shrunk[r]) for r in (1, 4, 16))
