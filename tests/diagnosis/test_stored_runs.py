"""The stored runs: each broken one gets its fault named, no healthy one any."""

import pytest

from lorabook.diagnosis.findings import find_faults
from tests.kit.broken_runs.faults import FAULTS
from tests.kit.broken_runs.stored import stored_cases

EVERY = [case for runs in stored_cases().values() for case in runs]


@pytest.mark.parametrize("case", EVERY, ids=lambda case: f"{case.name}, seed {case.seed}")
def test_the_fault_is_named_and_the_same_run_without_it_is_sound(case):
    assert [finding.name for finding in find_faults(case.broken)] == [case.name]
    assert find_faults(case.fixed) == []


def test_there_is_a_case_of_every_fault_with_two_seeds():
    assert set(stored_cases()) == set(FAULTS)
    assert min(map(len, stored_cases().values())) >= 2


def test_every_fault_ends_worse_than_the_run_without_it_but_two():
    """What a loss curve can and cannot tell, in these runs."""
    worse = {case.name for case in EVERY if _end(case.broken) > _end(case.fixed) + 0.05}
    assert worse == set(FAULTS) - {"EOS never a label", "adapter on another base"}


def _end(run) -> float:
    return run.history.held_out[-1][1]
