"""The Start explorer: a weight and its LoRA, drawn to scale, while r moves."""

from dataclasses import dataclass
from typing import Any

from lorabook.memory.families import shape_of
from lorabook.sizes import size_text
from lorabook.workbook.kit.break_even import break_even_rank
from lorabook.workbook.kit.controls import buttons, slider
from lorabook.workbook.kit.explorer import Explorer

RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
# (d, k) by name: attention's first matrix and the MLP's, of StarCoderBase-1B and of the pocket model.
MATRICES = {
    f"{short}, {m.name.split('.')[1]}": (m.d, m.k)
    for short, model in (("1B", "bigcode/starcoderbase-1b"), ("pocket", "pocket"))
    for m in shape_of(model).linears
    if m.name in ("attn.c_attn", "mlp.c_fc")
}


@dataclass(frozen=True)
class StartState:
    """The shape (d, k) of a weight W0, and the rank of its LoRA."""

    shape: tuple[int, int] = MATRICES["1B, c_attn"]
    r: int = 16


class StartExplorer(Explorer):
    """Matrix and rank → W0, B and A drawn to one scale, and how many parameters are trained."""

    def __init__(self) -> None:
        controls = {
            "shape": buttons("matrix", MATRICES),
            "r": slider("rank r", {str(r): r for r in RANKS}),
        }
        super().__init__("start/explorer.js", controls, StartState(), shown)


def trained(state: StartState) -> int:
    """r (d + k): the parameters of B (d, r) and A (r, k) together."""
    return state.r * sum(state.shape)


def shown(state: StartState) -> dict[str, Any]:
    """The sizes of W0, B and A."""
    d, k = state.shape
    share = f"{100 * trained(state) / (d * k):.3g}%"
    title = f"Rank {state.r}: B and A have {share} as many parameters as W0"
    return {"title": title, "readout": readout(state), "d": d, "k": k, "r": state.r}


def readout(state: StartState) -> str:
    """The same in sentences: the parameters of W0, of B and A, and when LoRA would be larger than the matrix."""
    (d, k), r = state.shape, state.r
    limit = break_even_rank(d, k)
    return "\n".join(
        (
            f"Frozen: W0, {d} × {k} = {d * k:,} parameters.",
            f"Trained: B, {d} × {r}, and A, {r} × {k}, together r (d + k) = {trained(state):,} parameters, "
            f"{size_text(4 * trained(state))} at 4 bytes each.",
            f"From rank {limit + 1:,} on, B and A have more parameters than W0.",
        )
    )
