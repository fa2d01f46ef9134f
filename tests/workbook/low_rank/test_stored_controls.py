"""The stored comparison of ΔW cut to a rank with its controls: whole, and what its script gives."""

import pytest

from lorabook.workbook.kit.stored import stored
from scripts.assets import low_rank_controls as script
from tests.kit.tuned_rates import assert_rate_is_bracketed

CONTROLS = stored("low_rank", "controls")
MODELS = list(CONTROLS["models"])


@pytest.mark.parametrize("model", MODELS)
def test_every_rate_was_chosen_between_two_others(model):
    found = CONTROLS["models"][model]
    for method in (found["full"], *found["lora"].values()):
        assert_rate_is_bracketed(method["rates"], method["runs"][0]["lr"])


@pytest.mark.parametrize("model", MODELS)
def test_every_run_is_there_at_the_chosen_rate(model):
    found = CONTROLS["models"][model]
    assert set(found["lora"]) == {str(r) for r in script.LORA_RANKS[model]}
    for method in (found["full"], *found["lora"].values()):
        assert [run["seed"] for run in method["runs"]] == found["seeds"]
        assert {run["lr"] for run in method["runs"]} == {float(min(method["rates"], key=method["rates"].get))}
        assert all(run["test"] < found["base"]["test"] for run in method["runs"])


@pytest.mark.parametrize("model", MODELS)
def test_every_part_was_measured_at_every_rank(model):
    for run in CONTROLS["models"][model]["full"]["runs"]:
        assert set(run["losses"]) == {"truncated", "rest", "scaled", "scaled rest", "random", "random rest"}
        for losses in (*run["losses"].values(), run["energy"]):
            assert set(losses) == {str(r) for r in script.RANKS}


def test_only_rank_1_of_the_pocket_model_has_many_intruders():
    """As notebook 03 says: of the first ten vectors of a matrix."""
    counts = {
        (model, r): sum(run["intruders"] for run in method["runs"]) / len(method["runs"])
        for model in MODELS
        for r, method in CONTROLS["models"][model]["lora"].items()
    }
    assert counts.pop(("pocket", "1")) > 0.6 and max(counts.values()) < 0.1


@pytest.mark.slow
def test_the_live_run_is_that_of_this_code():
    again, kept = script.live(), CONTROLS["live"]
    assert again["whole"] == pytest.approx(kept["whole"], abs=0.02)
    assert again["energy"]["4"] == pytest.approx(kept["energy"]["4"], abs=0.03)
    for way, losses in kept["losses"].items():
        assert again["losses"][way]["4"] == pytest.approx(losses["4"], abs=0.02), way
