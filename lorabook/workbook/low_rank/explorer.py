"""The Rank explorer: a picture or a pre-trained matrix, what rank r keeps of it, and what it leaves out."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lorabook.lora import matched
from lorabook.models import load_model
from lorabook.sizes import size_text
from lorabook.workbook.kit.break_even import break_even_rank
from lorabook.workbook.kit.controls import slider
from lorabook.workbook.kit.explorer import Explorer
from lorabook.workbook.kit.figures import BLUE, GREY, VERMILION
from lorabook.workbook.kit.stored import stored
from lorabook.workbook.low_rank.figures import picture
from lorabook.workbook.low_rank.svd import energy_kept, rank_for_energy

PICTURE = "picture"
RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
BLOCK_MATRICES = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
# The picture, then the matrices of the pocket model as the stored run names them.
MATRICES = (PICTURE, *(f"{block}.{name}" for block in range(4) for name in BLOCK_MATRICES), "wte", "wpe")
# The lines for the picture and for a matrix: style, colour, a sign that goes before the name, and where the name is.
LOOKS = {
    True: (("-", BLUE, "—", 0.0), ("--", VERMILION, "- -", 0.17)),
    False: (("o-", VERMILION, "●", 0.0), ("-", BLUE, "—", 0.34), ("-", GREY, "—", 0.63), (":", "black", "···", 0.81)),
}
CORNER = 64  # of a large matrix only so many rows and columns are drawn, so that an entry can be seen


@dataclass(frozen=True)
class RankState:
    """A matrix of MATRICES and the rank it is cut to."""

    matrix: str = "0.mlp.c_fc"
    r: int = 16


PRESETS = {
    "MLP, rank 16": RankState(),
    "attention, rank 16": RankState("0.attn.c_attn", 16),
    "embedding, rank 1": RankState("wte", 1),
    "picture, rank 8": RankState(PICTURE, 8),
}


class RankExplorer(Explorer):
    """Matrix and rank → the matrix, its part of rank r and the rest; energy kept, stored loss, bytes."""

    def __init__(self) -> None:
        controls = {
            "matrix": slider("matrix", {name: name for name in MATRICES}),  # beside a slider little text has room
            "r": slider("rank r", {str(r): r for r in RANKS}),
        }
        super().__init__(controls, RankState(), figure, readout, PRESETS, (840, 480))


def label(matrix: str) -> str:
    """`matrix` in words: "W0 of block 0, attn.c_attn"."""
    block, _, name = matrix.partition(".")
    if matrix == PICTURE:
        return "Picture"
    return f"W0 of block {block}, {name}" if name else f"W0 of {matrix}"


def figure(state: RankState, figure: Figure | None = None) -> Figure:
    """The matrix, what rank r keeps and what it leaves out; below, shares over all ranks with r marked."""
    figure = figure or Figure(figsize=(8.4, 4.8), dpi=100, facecolor="white")
    figure.clear()
    whole = _decomposed(state.matrix)
    (d, k), (rows, columns) = whole.shape, whole.shown.shape
    r = min(state.r, d, k)
    kept = (whole.U[:, :r] * whole.S[:r]) @ whole.Vh[:r]
    gap = columns // 8
    drawn = torch.ones(rows, 3 * columns + 2 * gap, 3)
    corner = "" if (rows, columns) == (d, k) else f", the first {rows} × {columns}"
    axes = figure.add_axes((0.075, 0.475, 0.9, 0.425))
    names = f"{d} × {k}{corner}", f"its part of rank {r}", "left out"
    for place, (name, M) in enumerate(zip(names, (whole.shown, kept, whole.shown - kept))):
        left = place * (columns + gap)
        drawn[:, left : left + columns] = _coloured(M, whole.scale, state.matrix == PICTURE and place < 2)
        axes.text(left + columns / 2, -0.04 * rows, name, ha="center", fontsize=9)
    axes.imshow(drawn.numpy(), interpolation="nearest")  # one image: an axes for each would take twice as long
    axes.set_axis_off()
    _curves(figure.add_axes((0.075, 0.11, 0.9, 0.27)), state.matrix, r)
    energy = _percent(energy_kept(whole.S, r))
    figure.text(0.01, 0.955, f"{label(state.matrix)}: rank {r} keeps {energy} of its energy", fontsize=11.5)
    return figure


def readout(state: RankState) -> str:
    """The same in sentences: energy kept, bytes beside the whole matrix, break-even, and the stored loss."""
    whole = _decomposed(state.matrix)
    d, k = whole.shape
    r = min(state.r, d, k)
    energy = energy_kept(whole.S, r)
    size, full = 4 * r * (d + k), 4 * d * k
    verdict = "less than" if size < full else "as much as" if size == full else "more than"
    lines = [
        f"{label(state.matrix)}, {d} × {k}: rank {r}{'' if r == state.r else ', the largest it has,'} keeps "
        f"{_percent(energy)} of its energy; 90% needs rank {rank_for_energy(whole.S, 0.9)}.",
        f"Two factors of rank {r} take {size_text(size)} in fp32, {verdict} the {size_text(full)} of the whole matrix; "
        f"break-even at rank {break_even_rank(d, k)}.",
    ]
    if state.matrix == PICTURE:
        return "\n".join(lines)
    run, way = _run()["long"]["runs"][0], _way(state.matrix)
    change = energy_kept(torch.tensor(_run()["long"]["delta"][state.matrix]), r)
    noise = energy_kept(torch.tensor(_run()["noise"][f"{d} x {k}"]), r)
    loss = run["loss"][way][_run()["ranks"].index(r)]
    which = "the 16 block matrices" if way == "blocks" else "all matrices, embeddings too,"
    lines += [
        f"Of its update ΔW in full fine-tuning rank {r} keeps {_percent(change)}, of noise {_percent(noise)}.",
        f"Held-out loss with the updates of {which} cut to rank {r}: {loss:.3f} nats "
        f"(to rank 0: {run['loss'][way][0]:.3f}, not cut: {run['tuned']:.3f}).",
    ]
    return "\n".join(lines)


def _run() -> dict[str, Any]:
    """What full fine-tuning of the pocket model changed, as `scripts/assets/delta_w.py` measured it."""
    return stored("low_rank", "delta_w")


@dataclass(frozen=True)
class _Decomposed:
    """A matrix's shape and singular values, and of what is drawn of it: entries, singular vectors, colour scale."""

    shape: tuple[int, int]
    S: Tensor
    shown: Tensor
    U: Tensor
    Vh: Tensor
    scale: float


@cache
def _decomposed(matrix: str) -> _Decomposed:
    M = picture() if matrix == PICTURE else _weights()[matrix]
    rows, columns = M.shape if matrix == PICTURE else (CORNER, CORNER)
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    shown = M[:rows, :columns]
    scale = 0.5 if matrix == PICTURE else 2.5 * float(shown.std())
    return _Decomposed((M.shape[0], M.shape[1]), S, shown, U[:rows], Vh[:, :columns], scale)


@cache
def _weights() -> dict[str, Tensor]:
    model = load_model("pocket", device="cpu").model
    names = matched(model, ("all-linear", "wte", "wpe"))
    return {
        n.removeprefix("transformer.").removeprefix("h."): model.get_parameter(f"{n}.weight").detach() for n in names
    }


@cache
def _lines(matrix: str) -> dict[str, tuple[list[int], list[float]]]:
    """What is drawn over the rank: the energy kept, and the picture's error, or the loss and what is compared with."""
    whole = _decomposed(matrix)
    ranks, energies = _energies(whole.S)
    if matrix == PICTURE:
        errors = [math.sqrt(max(0.0, 1 - energy)) for energy in energies]
        return {"energy kept": (ranks, energies), "error: norm left out / norm": (ranks, errors)}
    d, k = whole.shape
    losses = _run()["long"]["runs"][0]["loss"][_way(matrix)]
    back = [(losses[0] - loss) / (losses[0] - losses[-1]) for loss in losses]
    return {
        "recovery, all updates cut to r": (_run()["ranks"][1:], back[1:]),
        "energy of its ΔW": _energies(torch.tensor(_run()["long"]["delta"][matrix])),
        "energy of W0": (ranks, energies),
        "energy of noise": _energies(torch.tensor(_run()["noise"][f"{d} x {k}"])),
    }


def _energies(S: Tensor) -> tuple[list[int], list[float]]:
    squares = S.double().square()
    return list(range(1, len(S) + 1)), (squares.cumsum(0) / squares.sum()).tolist()


def _curves(axes: Axes, matrix: str, r: int) -> None:
    for (name, (ranks, shares)), (style, colour, sign, place) in zip(_lines(matrix).items(), LOOKS[matrix == PICTURE]):
        axes.plot([math.log2(rank) for rank in ranks], shares, style, color=colour, lw=1.6, ms=4)
        axes.plot([math.log2(r)], [shares[ranks.index(r)]], "s", color=colour, ms=6, mec="black", mew=0.8)
        # a name above the axes in its line's colour: a legend takes twice as long to draw
        axes.text(place, 1.09, f"{sign} {name}", transform=axes.transAxes, color=colour, fontsize=9)
    axes.axvline(math.log2(r), color="black", lw=0.8)
    axes.set(xlim=(-0.1, 8.1), ylim=(0, 1.04), xlabel="rank r (logarithmic)", ylabel="share")
    axes.set_xticks(range(9), [str(rank) for rank in RANKS], fontsize=9)
    axes.set_yticks((0, 0.5, 1), ("0", "0.5", "1"), fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _coloured(M: Tensor, scale: float, grey: bool) -> Tensor:
    """M as colours (rows, columns, 3): grey values from 0 to 1, or violet to orange from -scale to scale."""
    if grey:
        return M.clamp(0, 1)[..., None].expand(*M.shape, 3)
    return torch.from_numpy(colormaps["PuOr"]((M / (2 * scale) + 0.5).numpy())[..., :3]).float()


def _way(matrix: str) -> str:
    return "blocks" if "." in matrix else "all"


def _percent(share: float) -> str:
    """A share to three digits that never rounds up to the whole."""
    return f"{100 * share:.3g}%" if share < 0.9995 or share >= 1 - 1e-9 else "over 99.9%"
