"""The Subspace explorer: its meetings against SciPy, its texts."""

from itertools import product

import pytest
import torch
from matplotlib.text import Text
from scipy.optimize import minimize

from lorabook.workbook.explorers import SubspaceExplorer
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


def test_ten_directions_are_drawn_as_they_miss():
    for kind in (1, 2):
        bars = subspace.figure(SubspaceState(kind)).axes[1].patches
        distances = [meeting(SubspaceState(kind, direction)).distance for direction in range(subspace.DIRECTIONS)]
        assert [bar.get_height() for bar in bars] == pytest.approx(distances)


def test_turning_moves_the_picture_and_nothing_else():
    one, other = SubspaceState(), SubspaceState(turn=30)
    assert meeting(one).distance == meeting(other).distance and subspace.readout(one) == subspace.readout(other)
    dots = [subspace.figure(state).axes[0].get_lines()[0].get_xdata() for state in (one, other)]
    assert list(dots[0]) != list(dots[1])


@pytest.mark.parametrize("state", [*SCENES, SubspaceState(turn=180), SubspaceState(1, 3, 30)], ids=str)
def test_no_text_is_cut_or_lies_on_another(state):
    figure = subspace.figure(state)
    figure.draw_without_rendering()
    shown = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    names = ("θ1", "θ2", "θ3")  # these stand in the scene, where lines and the disc may cross them
    boxes = [(t.get_text(), t.get_window_extent()) for t in shown if t.get_text() not in names]
    for i, (one, box) in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= 840 and box.y1 <= 440, f"{one!r} leaves the figure"
        for other, second in boxes[i + 1 :]:
            assert not box.padded(-1).overlaps(second.padded(-1)), f"{one!r} lies on {other!r}"


def test_the_title_tells_meeting_from_missing():
    explorer = SubspaceExplorer()
    assert "misses" not in explorer.text.value and "It meets them" in explorer.text.value
    explorer.controls["kind"].value = 1
    assert "It misses them by" in explorer.text.value
