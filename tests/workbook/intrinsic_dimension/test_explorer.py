"""The Subspace explorer: its meetings against SciPy, its texts."""

from itertools import product

import pytest
import torch
from scipy.optimize import minimize

from lorabook.workbook.intrinsic_dimension import explorer as subspace
from lorabook.workbook.intrinsic_dimension.explorer import SubspaceState, meeting

SCENES = [SubspaceState(kind, direction) for kind, direction in product((1, 2), range(subspace.DIRECTIONS))]


@pytest.mark.parametrize("state", SCENES, ids=str)
def test_the_meeting_is_the_nearest_point_that_scipy_finds(state):
    B = subspace.basis(state).numpy()
    through, along = (v.numpy() for v in subspace.solutions())

    def squared(z):
        return ((B @ z[:-1] - through - z[-1] * along) ** 2).sum()

    found = minimize(squared, [0.1] * (state.kind + 1), tol=1e-14)
    assert meeting(state).distance == pytest.approx(found.fun**0.5, abs=1e-4)


def test_every_plane_meets_the_solutions_and_no_line_does():
    """A subspace of d dimensions meets s dimensions of solutions if d + s reaches D: here 3 - 1 = 2."""
    for state in SCENES:
        met = meeting(state)
        assert (met.distance == 0) == (state.kind == 2)
        through, along = subspace.solutions()
        assert float(torch.linalg.cross(met.solution - through, along).norm()) < 1e-9  # it is a solution


def test_a_line_lies_in_the_plane_of_its_direction():
    for direction in range(subspace.DIRECTIONS):
        line, plane = (subspace.basis(SubspaceState(kind, direction)) for kind in (1, 2))
        assert torch.equal(line[:, 0], plane[:, 0])
        torch.testing.assert_close(plane.T @ plane, torch.eye(2, dtype=torch.float64))


def test_ten_directions_are_shown_as_they_miss():
    for kind in (1, 2):
        shown = subspace.shown(SubspaceState(kind))["distances"]
        distances = [meeting(SubspaceState(kind, direction)).distance for direction in range(subspace.DIRECTIONS)]
        assert shown == pytest.approx(distances, abs=1e-4)


def test_turning_moves_the_view_and_nothing_else():
    one, other = (subspace.shown(SubspaceState(turn=turn)) for turn in (-60, 30))
    assert one | {"turn": 30} == other


@pytest.mark.parametrize("state", SCENES, ids=str)
def test_title_and_readout_tell_meeting_from_missing(state):
    shown = subspace.shown(state)
    if state.kind == 2:
        assert "meets the solutions" in shown["title"] and "It meets them" in shown["readout"]
        assert shown["inside"] == shown["solution"]
    else:
        assert f"misses the solutions by {meeting(state).distance:.2f}" in shown["title"]
        assert "It misses them by" in shown["readout"]
