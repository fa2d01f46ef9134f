"""The stored comparison of the two starts of LoRA: whole, tuned alike, and what its script gives."""

import pytest

from lorabook.workbook.kit.stored import stored
from scripts.assets import which_factor as script
from tests.kit.tuned_rates import assert_rate_is_bracketed

FOUND = stored("from_scratch", "which_factor")


@pytest.mark.parametrize("part", ["layer", "model"])
def test_both_starts_are_tuned_and_every_seed_is_there(part):
    for start in script.STARTS:
        run = FOUND[part][start]
        assert_rate_is_bracketed(run["rates"], run["lr"])
        assert len(run["test"]) == len(FOUND["seeds"]) == 20
    means = [sum(FOUND[part][start]["test"]) / 20 for start in ("A zero", "B zero")]
    assert FOUND[part]["A zero minus B zero"]["mean"] == pytest.approx(means[0] - means[1], abs=2e-5)


def test_both_starts_draw_from_the_same_distribution():
    for start, drawn in (("B zero", 0), ("A zero", 1)):
        pair = script.factors(start, 1024, 256, seed=3)
        assert pair[drawn].std().item() == pytest.approx((3 * 256) ** -0.5, rel=0.05)
        assert pair[1 - drawn].abs().max() == 0


@pytest.mark.slow
def test_the_live_run_is_that_of_this_code():
    assert script.live() == pytest.approx(FOUND["live"], abs=0.02)
