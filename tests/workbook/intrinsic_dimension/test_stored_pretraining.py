"""The stored answer to whether pre-training lowers the intrinsic dimension: whole, tuned, and what its script gives."""

import pytest

from lorabook.workbook.kit.stored import stored
from scripts.assets import pretraining_dimension as script
from tests.kit.tuned_rates import assert_rate_is_bracketed

FOUND = stored("intrinsic_dimension", "pretraining")


@pytest.mark.parametrize("share", FOUND["checkpoints"])
def test_every_dimension_of_every_checkpoint_is_tuned_and_has_every_seed(share):
    found = FOUND["checkpoints"][share]
    assert [point["d"] for point in found["points"]] == [*script.DIMENSIONS, FOUND["D"]]
    for point in (found["full"], *found["points"]):
        assert_rate_is_bracketed(point["rates"], point["lr"], better=max)
        assert len(point["test"]) == len(point["validation"]) == len(FOUND["seeds"])
        assert all(0.45 < accuracy < 1 for accuracy in point["test"])


def test_more_pretraining_is_a_better_start():
    shares = list(FOUND["checkpoints"])
    assert set(shares) <= {str(share) for share in script.CHECKPOINTS} and shares == sorted(shares, key=int)
    full = [sum(FOUND["checkpoints"][share]["full"]["test"]) for share in shares]
    assert full == sorted(full)


def test_the_new_layer_alone_is_tuned_and_nearly_enough_after_pretraining_only():
    for share, head in FOUND["head"].items():
        assert_rate_is_bracketed(head["rates"], head["lr"], better=max)
        full = sum(FOUND["checkpoints"][share]["full"]["test"])
        recovery = (sum(head["test"]) - 1.5) / (full - 1.5)
        assert (recovery > 0.9) == (share == "100")


@pytest.mark.slow
def test_the_live_runs_are_those_of_this_code():
    assert script.live() == pytest.approx(FOUND["live"], abs=0.03)
