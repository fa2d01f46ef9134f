"""The stored parts of ΔW and their controls: whole, at the learning rate that was chosen, and what the script gives."""

import pytest

from lorabook.workbook.kit.stored import stored
from scripts.assets import low_rank_controls as script

CONTROLS = stored("low_rank", "controls")


@pytest.mark.parametrize("model", script.MODELS)
def test_every_seed_of_full_fine_tuning_is_there_at_the_chosen_rate(model):
    found = CONTROLS["models"][model]
    rules = stored("rank_and_alpha", "rules")["models"][model]
    assert [run["seed"] for run in found["runs"]] == list(script.SEEDS)
    assert {run["lr"] for run in found["runs"]} == {rules["ranks"]["full"]["lr"]}
    assert found["base"] == pytest.approx(rules["base"]["test"], abs=1e-4)
    for run, again in zip(found["runs"], rules["ranks"]["full"]["runs"]):
        assert run["test"] == pytest.approx(again["test"], abs=0.015) and run["test"] < found["base"]


@pytest.mark.parametrize("model", script.MODELS)
def test_every_part_was_measured_at_every_rank(model):
    for run in CONTROLS["models"][model]["runs"]:
        assert set(run["losses"]) == {"truncated", "rest", "scaled", "scaled rest", "random", "random rest"}
        for losses in (*run["losses"].values(), run["energy"]):
            assert set(losses) == {str(r) for r in script.RANKS}


@pytest.mark.slow
def test_the_live_run_is_that_of_this_code():
    again, kept = script.live(), CONTROLS["live"]
    assert again["whole"] == pytest.approx(kept["whole"], abs=0.02)
    assert again["energy"]["4"] == pytest.approx(kept["energy"]["4"], abs=0.03)
    for way, losses in kept["losses"].items():
        assert again["losses"][way]["4"] == pytest.approx(losses["4"], abs=0.02), way
