"""The Subspace explorer: a line or plane through theta0 that meets or misses a set of solutions.

In three dimensions the solutions shown form a line: D = 3, they have s = 1 dimension, so D - s = 2 is the intrinsic
dimension (Li et al. 2018, arXiv 1804.08838, section 2). A random plane meets that line, a random line does not.
"""

import math
from dataclasses import dataclass, replace
from functools import partial

import ipywidgets as widgets
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lorabook.workbook.kit.drawn_controls import buttons
from lorabook.workbook.kit.drawn_explorer import DrawnExplorer
from lorabook.workbook.kit.figures import BLUE, GREEN, ORANGE, VERMILION

KINDS = {"line (d = 1)": 1, "plane (d = 2)": 2}
DIRECTIONS = 10
# The solutions: points THROUGH + t ALONG. Chosen so that the picture is wide and theta0 stands at a distance.
THROUGH, ALONG = (0.7, 0.5, 0.2), (-0.6, -0.1, 0.8)
REACH = 2.0  # how far from theta0 the subspace is drawn
ELEVATION = math.radians(24)


@dataclass(frozen=True)
class SubspaceState:
    """The subspace in three dimensions, its direction, and from where it is seen, in degrees."""

    kind: int = 2
    direction: int = 2  # seen from here, the plane of it clearly meets and the line clearly misses
    turn: int = -60


PRESETS = {"a plane": SubspaceState(), "a line": SubspaceState(kind=1), "another line": SubspaceState(1, 3, 30)}


class SubspaceExplorer(DrawnExplorer):
    """A subspace, its direction and the point of view → does it meet the solutions, and do others."""

    def __init__(self) -> None:
        controls = {
            "kind": buttons("subspace", KINDS),
            "direction": widgets.IntSlider(description="random direction", min=0, max=DIRECTIONS - 1),
            "turn": widgets.IntSlider(description="turn (degrees)", min=-180, max=180, step=10),
        }
        super().__init__(controls, SubspaceState(), figure, readout, PRESETS)


@dataclass(frozen=True)
class Meeting:
    """The point of the subspace that is nearest to the solutions, the solution nearest to it, and their distance."""

    inside: Tensor
    solution: Tensor
    distance: float


def basis(state: SubspaceState) -> Tensor:
    """Orthonormal directions of the subspace, (3, kind). A line lies in the plane of the same direction."""
    generator = torch.Generator("cpu").manual_seed(state.direction)
    return torch.linalg.qr(torch.randn(3, 2, generator=generator, dtype=torch.float64))[0][:, : state.kind]


def meeting(state: SubspaceState) -> Meeting:
    """Least ||B a - (through + t along)|| over a and t: zero where the subspace meets the solutions."""
    B, (through, along) = basis(state), solutions()
    coefficients = torch.linalg.lstsq(torch.cat([B, -along[:, None]], 1), through[:, None]).solution[:, 0]
    inside, solution = B @ coefficients[:-1], through + coefficients[-1] * along
    distance = float((inside - solution).norm())
    return Meeting(inside, solution, distance if distance > 1e-9 else 0.0)


def figure(state: SubspaceState, figure: Figure | None = None) -> Figure:
    """Left the three dimensions; right by how much each of the random directions misses the solutions."""
    figure = figure or Figure(figsize=(8.4, 4.4), dpi=100, facecolor="white")
    figure.clear()
    scene = figure.add_axes((0.0, 0.08, 0.5, 0.82))
    _draw_scene(scene, state)
    _draw_distances(figure.add_axes((0.60, 0.20, 0.37, 0.62)), state)
    figure.text(0.02, 0.03, "subspace through θ0", color=BLUE, fontsize=10)
    figure.text(0.215, 0.03, "solutions", color="#9a6a00", fontsize=10)
    if meeting(state).inside.norm() <= REACH:
        what, colour = ("where they meet", "#007a58") if state.kind == 2 else ("nearest point", VERMILION)
        figure.text(0.318, 0.03, what, color=colour, fontsize=10)
    figure.text(0.02, 0.945, _scene_title(state), fontsize=11)
    figure.text(0.55, 0.945, f"Ten random {'planes' if state.kind == 2 else 'lines'}", fontsize=11)
    return figure


def readout(state: SubspaceState) -> str:
    """The same in sentences."""
    met = meeting(state)
    kind, equations = ("plane", "2 + 1 = 3") if state.kind == 2 else ("line", "1 + 1 < 3")
    if met.distance == 0:
        place = f"It meets them {met.inside.norm():.2f} from θ0"
        place += "." if met.inside.norm() <= REACH else ", outside the picture."
    else:
        place = f"It misses them by {met.distance:.2f}."
    return (
        f"Three parameters. The solutions form a line, and a random {kind} goes through θ0. {place}\n"
        f"Dimensions of the subspace and of the solutions: {equations}."
    )


def _scene_title(state: SubspaceState) -> str:
    met = meeting(state)
    kind = "plane" if state.kind == 2 else "line"
    if met.distance:
        return f"A {kind} misses the solutions by {met.distance:.2f}"
    far = "" if met.inside.norm() <= REACH else f" {met.inside.norm():.1f} from θ0"
    return f"A {kind} meets the solutions{far}"


def solutions() -> tuple[Tensor, Tensor]:
    """A point of the line of solutions, and its direction of length 1."""
    through, along = (torch.tensor(v, dtype=torch.float64) for v in (THROUGH, ALONG))
    return through, along / along.norm()


def _flat(points: Tensor, turn: int) -> list[list[float]]:
    """Points (n, 3) as seen from the side, turned by so many degrees: two lists of n numbers."""
    sin, cos = math.sin(math.radians(turn)), math.cos(math.radians(turn))
    high = math.sin(ELEVATION)
    right = torch.tensor([-sin, cos, 0], dtype=torch.float64)
    up = torch.tensor([-high * cos, -high * sin, math.cos(ELEVATION)], dtype=torch.float64)
    return torch.stack([points @ right, points @ up]).tolist()


def _towards_viewer(turn: int) -> Tensor:
    low, angle = math.cos(ELEVATION), math.radians(turn)
    return torch.tensor([low * math.cos(angle), low * math.sin(angle), math.sin(ELEVATION)], dtype=torch.float64)


def _draw_scene(axes: Axes, state: SubspaceState) -> None:
    B, met, (through, along) = basis(state), meeting(state), solutions()
    flat = partial(_flat, turn=state.turn)
    axes.set(xlim=(-2.3, 2.3), ylim=(-2.1, 2.1), aspect="equal")
    axes.set_axis_off()
    for i, name in enumerate(("θ1", "θ2", "θ3")):  # the three parameters, as thin axes
        end = torch.eye(3, dtype=torch.float64)[i] * 1.9
        xs, ys = flat(torch.stack([-end, end, 1.12 * end]))
        axes.plot(xs[:2], ys[:2], color="#cccccc", lw=0.8, zorder=1)
        axes.text(xs[2], ys[2], name, color="#666666", fontsize=9, ha="center", va="center")
    ts = torch.linspace(-2.2, 2.2, 89, dtype=torch.float64)
    line = through + ts[:, None] * along
    if state.kind == 2:
        angles = torch.linspace(0, 2 * math.pi, 121, dtype=torch.float64)
        rim = REACH * torch.stack([angles.cos(), angles.sin()], 1) @ B.T
        axes.fill(*flat(rim), facecolor=BLUE, alpha=0.28, edgecolor=BLUE, zorder=3)
        for turn in range(2):  # a cross shows how the disc lies
            ends = torch.stack([-REACH * B[:, turn], REACH * B[:, turn]])
            axes.plot(*flat(ends), color=BLUE, lw=0.7, alpha=0.6, zorder=3)
        normal = torch.linalg.cross(B[:, 0], B[:, 1])
        normal = normal if normal @ _towards_viewer(state.turn) > 0 else -normal
        front = line @ normal >= 0
        for part, order in ((front, 4), (~front, 2)):  # the part behind the plane is painted under it
            axes.plot(*flat(line[part]), color=ORANGE, lw=3, zorder=order)
    else:
        axes.plot(*flat(torch.stack([-REACH * B[:, 0], REACH * B[:, 0]])), color=BLUE, lw=2.5, zorder=3)
        axes.plot(*flat(line), color=ORANGE, lw=3, zorder=2)
        axes.plot(*flat(torch.stack([met.inside, met.solution])), color=VERMILION, lw=1.8, zorder=5)
    if met.inside.norm() <= REACH:
        xs, ys = flat(met.inside[None])
        axes.plot(xs, ys, "o", color=GREEN if met.distance == 0 else VERMILION, ms=8, mec="black", zorder=6)
    xs, ys = flat(torch.zeros(1, 3, dtype=torch.float64))
    axes.plot(xs, ys, "o", color="black", ms=7, zorder=6)
    axes.annotate("θ0", (xs[0], ys[0]), xytext=(-17, -13), textcoords="offset points", fontsize=11)


def _draw_distances(axes: Axes, state: SubspaceState) -> None:
    """By how much every direction of the state's kind misses; the state's own is marked."""
    distances = [meeting(replace(state, direction=direction)).distance for direction in range(DIRECTIONS)]
    axes.bar(range(DIRECTIONS), distances, 0.6, color=VERMILION)
    axes.plot(range(DIRECTIONS), distances, "o", color=VERMILION if state.kind == 1 else GREEN, ms=7)
    axes.plot([state.direction], [distances[state.direction]], "o", mfc="none", mec="black", ms=12)
    axes.set(ylim=(-0.05, 1.1), xlabel="random direction", ylabel="distance to the solutions")
    axes.set_xticks(range(DIRECTIONS))
    axes.spines[["top", "right"]].set_visible(False)
