"""The Subspace explorer: a line or plane through theta0 that meets or misses a set of solutions.

In three dimensions the solutions shown form a line: D = 3, they have s = 1 dimension, so D - s = 2 is the intrinsic
dimension (Li et al. 2018, arXiv 1804.08838, section 2). A random plane meets that line, a random line does not.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lorabook.workbook.kit.controls import buttons, slider
from lorabook.workbook.kit.explorer import Explorer

KINDS = {"line (d = 1)": 1, "plane (d = 2)": 2}
DIRECTIONS = 10
# The solutions: points THROUGH + t ALONG. Chosen so that the picture is wide and theta0 stands at a distance.
THROUGH, ALONG = (0.7, 0.5, 0.2), (-0.6, -0.1, 0.8)
REACH = 2.0  # how far from theta0 the subspace is drawn


@dataclass(frozen=True)
class SubspaceState:
    """The subspace in three dimensions, its direction, and from where it is seen, in degrees."""

    kind: int = 2
    direction: int = 2  # seen from here, the plane of it clearly meets and the line clearly misses
    turn: int = -60


PRESETS = {"a plane": SubspaceState(), "a line": SubspaceState(kind=1), "another line": SubspaceState(1, 3, 30)}


class SubspaceExplorer(Explorer):
    """A subspace, its direction and the point of view → does it meet the solutions, and do others."""

    def __init__(self) -> None:
        controls = {
            "kind": buttons("subspace", KINDS),
            "direction": slider("random draw", {str(i): i for i in range(DIRECTIONS)}),
            "turn": slider("turn (degrees)", {str(i): i for i in range(-180, 181, 10)}),
        }
        scenes = {kind: [shown(SubspaceState(kind, i)) for i in range(DIRECTIONS)] for kind in KINDS.values()}
        super().__init__("intrinsic_dimension/explorer.js", controls, SubspaceState(), shown, PRESETS, scenes)


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


def shown(state: SubspaceState) -> dict[str, Any]:
    """The subspace and the solutions in three dimensions; by how much each random subspace of its kind misses.

    "others" are the distances of the other kind.

    Coordinates are to four digits: the last digits of a decomposition differ between machines.
    """
    met, kind = meeting(state), "plane" if state.kind == 2 else "line"
    equations = "2 + 1 = 3" if state.kind == 2 else "1 + 1 < 3"
    far, seen = met.inside.norm(), met.inside.norm() <= REACH
    if met.distance:
        title = f"A {kind} misses the solutions by {met.distance:.2f}"
        place = f"It misses them by {met.distance:.2f}."
    else:
        title = f"A {kind} meets the solutions{'' if seen else f' {far:.1f} from θ0'}"
        place = f"It meets them {far:.2f} from θ0{'.' if seen else ', outside the picture.'}"
    own, other = (
        [round(meeting(SubspaceState(kind, direction)).distance, 4) for direction in range(DIRECTIONS)]
        for kind in (state.kind, 3 - state.kind)
    )
    through, along = solutions()
    return {
        "title": title,
        "readout": f"Three parameters. The solutions form a line, and a random {kind} goes through θ0. {place}\n"
        f"Dimensions of the subspace and of the solutions: {equations}.",
        "basis": _rounded(basis(state).T),
        "through": _rounded(through),
        "along": _rounded(along),
        "inside": _rounded(met.inside),
        "solution": _rounded(met.solution),
        "reach": REACH,
        "distances": own,
        "others": other,
        "direction": state.direction,
        "turn": state.turn,
    }


def _rounded(points: Tensor) -> list[Any]:
    return (torch.round(points, decimals=4) + 0.0).tolist()  # no negative zero


def solutions() -> tuple[Tensor, Tensor]:
    """A point of the line of solutions, and its direction of length 1."""
    through, along = (torch.tensor(v, dtype=torch.float64) for v in (THROUGH, ALONG))
    return through, along / along.norm()
