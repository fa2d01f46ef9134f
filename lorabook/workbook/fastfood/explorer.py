"""The Fastfood explorer: a spike on its way through B, H, Π, G and H, with each factor to be switched off."""

from dataclasses import dataclass
from functools import cache

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lorabook.subspace.fastfood import FastfoodProjection, fwht
from lorabook.workbook.kit.drawn_controls import slider
from lorabook.workbook.kit.drawn_explorer import DrawnExplorer
from lorabook.workbook.kit.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION

L = 64
STEPS = {"the spike alone": 0, "B": 1, "H": 2, "Π": 3, "G": 4, "H again": 5}
NAMES = ("θ: a spike", "B: random signs", "H: mixes", "Π: shuffles", "G: scales at random", "H: mixes again")
COLOURS = (GREY, PURPLE, BLUE, GREEN, ORANGE, VERMILION)


@dataclass(frozen=True)
class FastfoodState:
    """Where the spike is, how many factors have been applied to it, and which of them are on."""

    spike: int = 22
    step: int = 5
    B: bool = True
    H: bool = True
    Pi: bool = True
    G: bool = True


PRESETS = {
    "all on": FastfoodState(),
    "Π and G off": FastfoodState(Pi=False, G=False),
    "H off": FastfoodState(H=False),
    "G off, first spike": FastfoodState(0, G=False),
}


class FastfoodExplorer(DrawnExplorer):
    """A spike, a step and switches → the vector after every factor of M = H G Π H B, for L = 64."""

    def __init__(self) -> None:
        controls = {
            "spike": widgets.IntSlider(description="spike at", min=0, max=L - 1),
            "step": slider("up to", STEPS),
        } | {name: widgets.Checkbox(description=f"{label} on") for name, label in
             {"B": "B", "H": "both H", "Pi": "Π", "G": "G"}.items()}  # fmt: skip
        super().__init__(controls, FastfoodState(), figure, readout, PRESETS)


@cache
def drawn() -> FastfoodProjection:
    """The factors, as the library draws them."""
    return FastfoodProjection(L, L, seed=1)


def stages(state: FastfoodState) -> list[Tensor]:
    """The vector before the first factor and after each of the five, (64,)."""
    p = drawn()
    z = torch.zeros(L)
    z[state.spike] = 1
    found = [z]
    found.append(p.B * found[-1] if state.B else found[-1])
    found.append(fwht(found[-1]) if state.H else found[-1])
    found.append(found[-1][p.gather.long()] if state.Pi else found[-1])
    found.append(p.G * found[-1] if state.G else found[-1])
    found.append(fwht(found[-1]) if state.H else found[-1])
    return found


def figure(state: FastfoodState, figure: Figure | None = None) -> Figure:
    """Six panels, one for each stage up to the state's step."""
    figure = figure or Figure(figsize=(8.4, 4.4), dpi=100, facecolor="white")
    figure.clear()
    on = (True, state.B, state.H, state.Pi, state.G, state.H)
    for place, (name, colour, values, is_on) in enumerate(zip(NAMES, COLOURS, stages(state), on)):
        row, column = divmod(place, 3)
        axes = figure.add_axes((0.05 + 0.325 * column, 0.56 - 0.47 * row, 0.285, 0.34))
        axes.set_title(name if is_on else f"{name.split(':')[0]}: off", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xticks([0, 16, 32, 48, 63])
        axes.set_xlim(-1, L)
        axes.tick_params(labelsize=8)
        if place <= state.step:
            axes.vlines(range(L), 0, values.tolist(), colors=colour, lw=2)
            axes.axhline(0, color="black", lw=0.6)
            top = 1.1 * max(1e-9, values.abs().max().item())
            axes.set_ylim(-top, top)
            axes.set_yticks([-top / 1.1, 0, top / 1.1], [f"{-top / 1.1:.3g}", "0", f"{top / 1.1:.3g}"])
        else:
            axes.set_yticks([])
    return figure


def readout(state: FastfoodState) -> str:
    """How many entries are not zero, and how many sizes they have, after the state's step."""
    values = stages(state)[state.step]
    present = values[values.abs() > 1e-6].abs()
    sizes = len(torch.unique((present * 1e3).round()))
    where = next(name for name, step in STEPS.items() if step == state.step)
    kinds = "one size" if sizes == 1 else f"{sizes} different sizes"
    return f"After {where}: {len(present)} of {L} entries are not zero, with {kinds}."
