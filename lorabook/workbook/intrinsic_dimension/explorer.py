"""The Subspace explorer: a line or plane through theta0 that meets or misses a set of solutions; then the real curve.

In three dimensions the solutions shown form a line: D = 3, they have s = 1 dimension, so D - s = 2 is the intrinsic
dimension (Li et al. 2018, arXiv 1804.08838, section 2). A random plane meets that line, a random line does not.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lorabook.workbook.intrinsic_dimension.figures import draw_shares
from lorabook.workbook.intrinsic_dimension.measure import Curve, Point
from lorabook.workbook.kit.controls import buttons, slider
from lorabook.workbook.kit.explorer import Explorer
from lorabook.workbook.kit.figures import BLUE, GREEN, GREY, ORANGE, VERMILION
from lorabook.workbook.kit.sizes import size_text
from lorabook.workbook.kit.stored import stored

KINDS = {"line (d = 1)": 1, "plane (d = 2)": 2}
DIRECTIONS = 10
# The solutions: points THROUGH + t ALONG. Chosen so that the picture is wide and theta0 stands at a distance.
THROUGH, ALONG = (0.7, 0.5, 0.2), (-0.6, -0.1, 0.8)
REACH = 2.0  # how far from theta0 the subspace is drawn
AZIMUTH, ELEVATION = math.radians(-58), math.radians(24)


@dataclass(frozen=True)
class SubspaceState:
    """The subspace in three dimensions and its direction; the dimension d and the seed of the stored run."""

    kind: int = 2
    direction: int = 2  # seen from here, the plane of it clearly meets and the line clearly misses
    d: int = 10_000
    seed: int = 0


PRESETS = {
    "plane, d = 10,000": SubspaceState(),
    "line, d = 100": SubspaceState(kind=1, d=100),
    "line, d = 1,000,000": SubspaceState(kind=1, direction=3, d=1_000_000, seed=1),
}


class SubspaceExplorer(Explorer):
    """A subspace and its direction → does it meet the solutions; d and seed → share recovered, bytes of P."""

    def __init__(self) -> None:
        pretrained = _run()["pretrained"]["points"]
        seeds = {f"seed {seed}": seed for seed in range(len(pretrained[0]["losses"]))}
        controls = {
            "kind": buttons("subspace", KINDS),
            "direction": widgets.IntSlider(description="random direction", min=0, max=DIRECTIONS - 1),
            "d": slider("d (pocket model)", {f"{p['d']:,}": p["d"] for p in pretrained}),
            "seed": buttons("run", seeds),
        }
        super().__init__(controls, SubspaceState(), figure, readout, PRESETS)


def _run() -> dict[str, Any]:
    """What `scripts/assets/subspace_curves.py` measured on the pocket model."""
    return stored("intrinsic_dimension", "subspace_curves")


@cache
def curve(start: str = "pretrained") -> Curve:
    """The stored held-out losses over d from the pocket model, or from random initialisation ("random")."""
    run = _run()[start]
    full, bases = run["full"]["losses"], run["full"]["bases"]
    points = tuple(Point(p["d"], tuple(p["losses"])) for p in run["points"])
    return Curve(points, sum(full) / len(full), sum(bases) / len(bases))


def dense_bytes(d: int, D: int) -> int:
    """Bytes of a dense P in fp32: 4 d D."""
    return 4 * d * D


def fastfood_bytes(d: int, D: int) -> int:
    """Bytes that `FastfoodProjection(d, D)` holds: G, two index vectors of length L, and d signs: 12 L + 4 d."""
    return 12 * (1 << (D - 1).bit_length()) + 4 * d


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
    """Left the three dimensions; right the share recovered over d, and below it the bytes of P at d."""
    figure = figure or Figure(figsize=(8.4, 4.4), dpi=100, facecolor="white")
    figure.clear()
    scene = figure.add_axes((0.0, 0.08, 0.43, 0.82))
    _draw_scene(scene, state)
    shares = figure.add_axes((0.535, 0.44, 0.425, 0.44))
    line = curve()
    draw_shares(shares, line, state.seed)
    share = _share(state)
    shares.plot([state.d], [share], "s", color=BLUE, ms=8, mec="black")
    shares.set_xticks([10.0**power for power in range(2, 7)])
    shares.set_ylabel("share recovered")
    shares.spines[["top", "right"]].set_visible(False)
    _draw_bytes(figure.add_axes((0.60, 0.11, 0.38, 0.15)), state.d)
    figure.text(0.02, 0.03, "subspace through θ0", color=BLUE, fontsize=10)
    figure.text(0.215, 0.03, "solutions", color="#9a6a00", fontsize=10)
    if meeting(state).inside.norm() <= REACH:
        what, colour = ("where they meet", "#007a58") if state.kind == 2 else ("nearest point", VERMILION)
        figure.text(0.318, 0.03, what, color=colour, fontsize=10)
    figure.text(0.02, 0.945, _scene_title(state), fontsize=11)
    figure.text(0.475, 0.945, f"Pocket model: d = {state.d:,} recovers {share:.0%} (seed {state.seed})", fontsize=11)
    return figure


def readout(state: SubspaceState) -> str:
    """The same in sentences."""
    met, line, D = meeting(state), curve(), _run()["D"]
    kind = "plane" if state.kind == 2 else "line"
    if met.distance == 0:
        place = f"It meets them {met.inside.norm():.2f} from θ0"
        place += "." if met.inside.norm() <= REACH else ", outside the picture."
    else:
        place = f"It misses them by {met.distance:.2f}."
    loss = next(p for p in line.points if p.d == state.d).scores[state.seed]
    reached, own = line.d, line.d_by_seed[state.seed]
    d90 = f"the mean of all seeds reaches 90% at {_dimension(reached)}, this seed at {_dimension(own)}"
    if reached is own is None:
        d90 = "no d measured reaches 90%"
    return "\n".join(
        [
            f"Three parameters, whose solutions form a line; a random {kind} through θ0. {place}",
            f"Pocket model, d = {state.d:,} of D = {D:,}, seed {state.seed}: held-out loss {loss:.3f} nats "
            f"(start {line.start:.3f}, every parameter {line.full:.3f}), {_share(state):.0%} of the fall; {d90}.",
            f"A dense P takes {size_text(dense_bytes(state.d, D))} in fp32, Fastfood "
            f"{size_text(fastfood_bytes(state.d, D))}, the model itself {size_text(4 * D)}.",
        ]
    )


def _dimension(d: int | None) -> str:
    return "no d measured" if d is None else f"d = {d:,}"


def _share(state: SubspaceState) -> float:
    return curve().share(next(p for p in curve().points if p.d == state.d).scores[state.seed])


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


def _flat(points: Tensor) -> list[list[float]]:
    """Points (n, 3) as seen from the side: two lists of n numbers."""
    sin, cos = math.sin(AZIMUTH), math.cos(AZIMUTH)
    high = math.sin(ELEVATION)
    right = torch.tensor([-sin, cos, 0], dtype=torch.float64)
    up = torch.tensor([-high * cos, -high * sin, math.cos(ELEVATION)], dtype=torch.float64)
    return torch.stack([points @ right, points @ up]).tolist()


def _towards_viewer() -> Tensor:
    low = math.cos(ELEVATION)
    return torch.tensor([low * math.cos(AZIMUTH), low * math.sin(AZIMUTH), math.sin(ELEVATION)], dtype=torch.float64)


def _draw_scene(axes: Axes, state: SubspaceState) -> None:
    B, met, (through, along) = basis(state), meeting(state), solutions()
    axes.set(xlim=(-2.3, 2.3), ylim=(-2.1, 2.1), aspect="equal")
    axes.set_axis_off()
    for i, name in enumerate(("θ1", "θ2", "θ3")):  # the three parameters, as thin axes
        end = torch.eye(3, dtype=torch.float64)[i] * 1.9
        xs, ys = _flat(torch.stack([-end, end, 1.12 * end]))
        axes.plot(xs[:2], ys[:2], color="#cccccc", lw=0.8, zorder=1)
        axes.text(xs[2], ys[2], name, color="#666666", fontsize=9, ha="center", va="center")
    ts = torch.linspace(-2.2, 2.2, 89, dtype=torch.float64)
    line = through + ts[:, None] * along
    if state.kind == 2:
        angles = torch.linspace(0, 2 * math.pi, 121, dtype=torch.float64)
        rim = REACH * torch.stack([angles.cos(), angles.sin()], 1) @ B.T
        axes.fill(*_flat(rim), facecolor=BLUE, alpha=0.28, edgecolor=BLUE, zorder=3)
        for turn in range(2):  # a cross shows how the disc lies
            ends = torch.stack([-REACH * B[:, turn], REACH * B[:, turn]])
            axes.plot(*_flat(ends), color=BLUE, lw=0.7, alpha=0.6, zorder=3)
        normal = torch.linalg.cross(B[:, 0], B[:, 1])
        normal = normal if normal @ _towards_viewer() > 0 else -normal
        front = line @ normal >= 0
        for part, order in ((front, 4), (~front, 2)):  # the part behind the plane is painted under it
            axes.plot(*_flat(line[part]), color=ORANGE, lw=3, zorder=order)
    else:
        axes.plot(*_flat(torch.stack([-REACH * B[:, 0], REACH * B[:, 0]])), color=BLUE, lw=2.5, zorder=3)
        axes.plot(*_flat(line), color=ORANGE, lw=3, zorder=2)
        axes.plot(*_flat(torch.stack([met.inside, met.solution])), color=VERMILION, lw=1.8, zorder=5)
    if met.inside.norm() <= REACH:
        xs, ys = _flat(met.inside[None])
        axes.plot(xs, ys, "o", color=GREEN if met.distance == 0 else VERMILION, ms=8, mec="black", zorder=6)
    xs, ys = _flat(torch.zeros(1, 3, dtype=torch.float64))
    axes.plot(xs, ys, "o", color="black", ms=7, zorder=6)
    axes.annotate("θ0", (xs[0], ys[0]), xytext=(-17, -13), textcoords="offset points", fontsize=11)


def _draw_bytes(axes: Axes, d: int) -> None:
    D = _run()["D"]
    sizes = {"dense P": dense_bytes(d, D), "Fastfood": fastfood_bytes(d, D)}
    axes.barh(list(sizes)[::-1], list(sizes.values())[::-1], color=[GREY, VERMILION], height=0.6)
    axes.set(xscale="log", xlim=(2**20, 2**50), xlabel="bytes of P in fp32 (logarithmic)")
    axes.set_xticks([2**20, 2**30, 2**40], ["1 MiB", "1 GiB", "1 TiB"])
    axes.minorticks_off()
    for place, size in enumerate(list(sizes.values())[::-1]):
        axes.text(size * 1.5, place, size_text(size), va="center", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
