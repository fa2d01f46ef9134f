"""The Subspace explorer: its meetings against SciPy, its bytes against the real projections, its texts."""

from itertools import product

import pytest
import torch
from matplotlib.text import Text
from scipy.optimize import minimize

from lorabook.subspace.fastfood import FastfoodProjection
from lorabook.subspace.projection import DenseProjection
from lorabook.workbook.explorers import SubspaceExplorer
from lorabook.workbook.intrinsic_dimension import explorer as subspace
from lorabook.workbook.intrinsic_dimension.explorer import SubspaceState, curve, meeting
from lorabook.workbook.kit.sizes import size_text
from lorabook.workbook.kit.stored import stored

RUN = stored("intrinsic_dimension", "subspace_curves")
DIMENSIONS = [p["d"] for p in RUN["pretrained"]["points"]]
SCENES = [SubspaceState(kind, direction) for kind, direction in product((1, 2), range(subspace.DIRECTIONS))]
RUNS = [SubspaceState(d=d, seed=s) for d, s in product(DIMENSIONS, range(len(RUN["pretrained"]["full"]["losses"])))]


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


@pytest.mark.parametrize(("d", "D"), [(1, 5), (7, 64), (40, 1000)])
def test_bytes_are_those_that_the_projections_hold(d, D):
    for bytes_of, made in ((subspace.dense_bytes, DenseProjection), (subspace.fastfood_bytes, FastfoodProjection)):
        assert bytes_of(d, D) == sum(buffer.nbytes for buffer in made(d, D).buffers())


def test_the_curve_is_the_stored_runs():
    for start in ("pretrained", "random"):
        run, line = RUN[start], curve(start)
        assert [(p.d, list(p.scores)) for p in line.points] == [(p["d"], p["losses"]) for p in run["points"]]
        assert line.full == pytest.approx(sum(run["full"]["losses"]) / len(run["full"]["losses"]))
        assert all(base == pytest.approx(line.start, abs=0.1) for p in run["points"] for base in p["bases"])


@pytest.mark.parametrize("state", RUNS, ids=str)
def test_the_readout_gives_the_stored_loss_and_the_bytes(state):
    text, D = subspace.readout(state), RUN["D"]
    loss = next(p for p in RUN["pretrained"]["points"] if p["d"] == state.d)["losses"][state.seed]
    assert f"held-out loss {loss:.3f} nats" in text
    assert (
        f"A dense P takes {size_text(4 * state.d * D)} in fp32, Fastfood {size_text(12 * 2**22 + 4 * state.d)}" in text
    )


@pytest.mark.parametrize("state", [*SCENES, *RUNS], ids=str)
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
    explorer.controls["d"].value = DIMENSIONS[0]
    assert f"d = {DIMENSIONS[0]:,} of D = 3,878,656" in explorer.text.value
