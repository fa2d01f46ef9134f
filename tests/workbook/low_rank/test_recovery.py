"""Recoveries of the stored runs: fractions of each run's own improvement, and their means."""

import pytest

from lorabook.workbook.kit.stored import stored
from lorabook.workbook.low_rank import recovery


def test_recovery_is_the_part_of_each_run_s_own_improvement():
    losses = {way: {"1": 3.5, "4": 3.0} for way in ("truncated", "shrunk", "directions", "entries")}
    energy = {"1": 0.25, "4": 0.64}
    full = [{"test": 2.0, "losses": losses, "energy": energy}, {"test": 3.0, "losses": losses, "energy": energy}]
    found = {"base": {"test": 4.0}, "full": {"runs": full}, "lora": {"4": {"runs": [{"test": 2.5}, {"test": 3.25}]}}}
    curves = recovery.recovered(found)
    assert curves["LoRA"] == {4: [1.0, 0.5]}  # of the mean over the full runs, 1.5
    assert curves["shrunk"] == {1: [0.25, 0.5], 4: [0.5, 1.0]}


def test_recoveries_are_means_over_seeds():
    pocket = stored("low_rank", "controls")["models"]["pocket"]
    found, all_seeds = recovery.recoveries(pocket), recovery.recovered(pocket)
    assert found["first r terms"][4] == pytest.approx(sum(all_seeds["truncated"][4]) / 3)
    assert found["LoRA"][1] == pytest.approx(sum(all_seeds["LoRA"][1]) / 3)
    assert found["LoRA"][1] > found["first r terms"][1] + 0.2
    assert found["first r terms"][4] > found["random entries"][4] + 0.2


def test_full_fine_tuning_is_the_mean_of_the_runs():
    found = {"base": {"test": 3.6}, "full": {"runs": [{"test": 3.25}, {"test": 3.35}]}}
    assert recovery.full_fine_tuning(found) == "full fine-tuning 3.60 → 3.30"
