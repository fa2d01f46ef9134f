"""The Fastfood explorer: a spike on its way through B, H, Π, G and H, with each factor to be switched off."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from lorabook.subspace.fastfood import FastfoodProjection, fwht
from lorabook.workbook.kit.controls import check, slider
from lorabook.workbook.kit.explorer import Explorer

L = 32
STEPS = {"no step": 0, "B": 1, "the first H": 2, "Π": 3, "G": 4, "the second H": 5}


@dataclass(frozen=True)
class FastfoodState:
    """Where the spike is, how many factors have been applied to it, and which of them are on."""

    spike: int = 20
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


class FastfoodExplorer(Explorer):
    """Two spikes, a step and switches → the vectors after every factor of M = H G Π H B, for L = 32."""

    def __init__(self) -> None:
        controls = {
            "spike": slider("spike at", {str(i): i for i in range(L)}),
            "step": slider("up to", STEPS),
        } | {name: check(f"{label} on") for name, label in {"B": "B", "H": "both H", "Pi": "Π", "G": "G"}.items()}
        p = drawn()
        data = {"B": p.B.tolist(), "gather": p.gather.tolist(), "G": p.G.tolist(), "steps": list(STEPS)}
        super().__init__("fastfood/explorer.js", controls, FastfoodState(), shown, PRESETS, data)


@cache
def drawn() -> FastfoodProjection:
    """The factors, as the library draws them."""
    return FastfoodProjection(L, L, seed=0)


def stages(state: FastfoodState) -> list[Tensor]:
    """The vector before the first factor and after each of the five, (32,) in fp64, where every sum is exact."""
    p = drawn()
    z = torch.zeros(L, dtype=torch.float64)
    z[state.spike] = 1
    found = [z]
    found.append(p.B * found[-1] if state.B else found[-1])
    found.append(fwht(found[-1]) if state.H else found[-1])
    found.append(found[-1][p.gather.long()] if state.Pi else found[-1])
    found.append(p.G * found[-1] if state.G else found[-1])
    found.append(fwht(found[-1]) if state.H else found[-1])
    return found


def shown(state: FastfoodState) -> dict[str, Any]:
    """The vector at every stage, and that of the next spike; which factors are on; how many entries are not zero."""
    found, neighbour = stages(state), replace(state, spike=(state.spike + 1) % L)
    present = found[state.step].abs()
    present = present[present > 1e-6]
    sizes = len(torch.unique((present * 1e3).round()))
    where = next(name for name, step in STEPS.items() if step == state.step)
    kinds = "one size" if sizes == 1 else f"{sizes} different sizes"
    return {
        "title": f"Two spikes, at {state.spike} (blue) and at {neighbour.spike} (orange)",
        "readout": f"After {where}: {len(present)} of {L} entries are not zero, with {kinds}.",
        "stages": [stage.tolist() for stage in found],
        "next": [stage.tolist() for stage in stages(neighbour)],
        "on": [True, state.B, state.H, state.Pi, state.G, state.H],
        "step": state.step,
    }
