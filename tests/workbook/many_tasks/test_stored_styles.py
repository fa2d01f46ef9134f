"""The stored counts of the style adapters: whole, clear enough to be seen, and those of today's code."""

import pytest

from lorabook.workbook.kit.stored import stored
from lorabook.workbook.kit.styles import STYLES
from scripts.assets import style_adapters as script

ADAPTERS = stored("many_tasks", "style_adapters")
MODELS = ADAPTERS["models"]
NAMES = [style.name for style in STYLES]


def share(runs: list[dict], style: str) -> float:
    """How often the habit is kept, over all seeds."""
    kept, chances = (sum(run["counts"][style][i] for run in runs) for i in (0, 1))
    return kept / chances


@pytest.mark.parametrize("model", MODELS)
def test_every_seed_of_every_style_is_there(model):
    found = MODELS[model]
    assert list(found["adapters"]) == NAMES and found["lr"] in script.RATES[model]
    assert set(found["rates"]) == {f"{lr:g}" for lr in script.RATES[model]} or len(script.RATES[model]) == 1
    assert found["seeds"] == list(script.SEEDS[model]) and found["steps"] == script.STEPS[model]
    for runs in (found["base"], *found["adapters"].values()):
        assert len(runs) == len(found["seeds"]) and all(list(run["counts"]) == NAMES for run in runs)


@pytest.mark.parametrize("model", MODELS)
def test_an_adapter_gives_its_own_habit_and_no_other(model):
    found = MODELS[model]
    for style, runs in found["adapters"].items():
        assert share(runs, style) > share(found["base"], style) + 0.4
        assert all(share(runs, other) < 0.25 for other in NAMES if other != style)


@pytest.mark.slow
def test_the_live_run_is_that_of_this_code():
    again, kept = script.live(), ADAPTERS["live"]
    assert again["held_out"] == pytest.approx(kept["held_out"], abs=0.02)
    times, chances = again["counts"]
    assert times / chances == pytest.approx(kept["counts"][0] / kept["counts"][1], abs=0.15)
