"""Recoveries of the stored runs: fractions of each run's own improvement, and their means."""

import pytest

from lorabook.workbook.kit.stored import stored
from lorabook.workbook.low_rank import recovery


def test_recovery_is_the_part_of_each_run_s_own_improvement():
    losses = {way: {"1": 3.5, "4": 3.0} for way in ("truncated", "rest", "scaled", "scaled rest")}
    full = [{"test": 2.0, "losses": losses}, {"test": 3.0, "losses": losses}]
    found = {"base": {"test": 4.0}, "full": {"runs": full}, "lora": {"4": {"runs": [{"test": 2.5}, {"test": 3.25}]}}}
    curves = recovery.recovered(found)
    assert curves["LoRA"] == {4: [1.0, 0.5]}  # of the mean over the full runs, 1.5
    assert curves["ΔW shrunk"] == {1: [0.25, 0.5], 4: [0.5, 1.0]}
    assert recovery.recoveries(found)["scaled"] == {1: 0.375, 4: 0.75}


@pytest.mark.parametrize(("model", "side"), [("pocket", -1), ("smollm2", 1)])
def test_first_terms_beat_a_random_piece_and_the_others_lose_to_one(model, side):
    """As notebook 04 says. A smaller dose of ΔW beats the first terms on the pocket model and loses on SmolLM2."""
    found = recovery.recoveries(stored("low_rank", "controls")["models"][model])
    for r in (1, 4, 16):
        assert found["truncated"][r] > found["random"][r] + 0.05 and found["rest"][r] < found["random rest"][r] - 0.05
        assert 0 < side * (found["truncated"][r] - found["scaled"][r]) < 0.18
        assert found["LoRA"][r] > found["truncated"][r]
    assert found["truncated"][4] > found["random"][4] + 0.2 and found["rest"][4] < found["random rest"][4] - 0.3
    assert found["LoRA"][1] > found["truncated"][1] + 0.2


def test_the_numbers_that_notebook_04_names():
    models = stored("low_rank", "controls")["models"]
    pocket, smollm2 = (recovery.recoveries(models[model]) for model in ("pocket", "smollm2"))
    assert all(abs(pocket["scaled"][r] - pocket["LoRA"][r]) < 0.015 for r in (4, 16))  # a tie
    ranks_1 = [found[way][1] for found in (pocket, smollm2) for way in ("LoRA", "truncated")]
    assert [f"{mean:.0%}" for mean in ranks_1] == ["76%", "51%", "99%", "77%"]
    assert f"{smollm2['rest'][4]:.0%}" == "55%"
