"""The Rank explorer: a picture or a pre-trained matrix, what rank r keeps of it, and what it leaves out."""

import base64
import math
import zlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lorabook.lora import matched
from lorabook.models import load_model
from lorabook.sizes import size_text
from lorabook.workbook.kit.break_even import break_even_rank
from lorabook.workbook.kit.controls import slider
from lorabook.workbook.kit.explorer import Explorer
from lorabook.workbook.kit.stored import stored
from lorabook.workbook.low_rank.figures import picture
from lorabook.workbook.low_rank.svd import energy_kept, rank_for_energy

PICTURE = "picture"
RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
BLOCK_MATRICES = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
# The picture, then the matrices of the pocket model as the stored run names them.
MATRICES = (PICTURE, *(f"{block}.{name}" for block in range(4) for name in BLOCK_MATRICES), "wte", "wpe")
CORNER = 20  # of a matrix only so many rows and columns are drawn, so that an entry can be seen
# An entry is drawn in one of a few colours: a grey level of the picture is 1/40, of a matrix 1/16 of its scale.
GREYS, SHADES, LOWEST = 40, 16, -16


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
        data = stored("low_rank", "explorer_data")["data"]
        super().__init__("low_rank/explorer.js", controls, RankState(), shown, PRESETS, data)


def explorer_data() -> dict[str, Any]:
    """What explorer.js needs: numbers of every matrix and, packed, the levels of the whole and of each rank's part.

    It ships with the book, since how zlib packs and the last digits of a decomposition differ between machines.
    """
    every = b"".join(bytes(level - LOWEST for level in levels(m, r)) for m in MATRICES for r in (math.inf, *RANKS))
    run = _run()["long"]["runs"][0]
    return {
        "matrices": {matrix: _numbers(matrix) for matrix in MATRICES},
        "levels": base64.b64encode(zlib.compress(every, 9)).decode(),
        "lowest": LOWEST,
        "ranks": list(RANKS),
        "loss": {way: [losses[_run()["ranks"].index(r)] for r in RANKS] for way, losses in run["loss"].items()},
        "none": {way: losses[0] for way, losses in run["loss"].items()},
        "tuned": run["tuned"],
    }


def label(matrix: str) -> str:
    """`matrix` in words: "W0 of block 0, attn.c_attn"."""
    block, _, name = matrix.partition(".")
    if matrix == PICTURE:
        return "Picture"
    return f"W0 of block {block}, {name}" if name else f"W0 of {matrix}"


def shown(state: RankState) -> dict[str, Any]:
    """The matrix and what rank r keeps, as levels of colour; shares over all ranks; the readout."""
    whole = _decomposed(state.matrix)
    (d, k), (rows, columns) = whole.shape, whole.shown.shape
    r = min(state.r, d, k)
    return {
        "title": f"{label(state.matrix)}: rank {r} keeps {_percent(energy_kept(whole.S, r))} of its energy",
        "readout": readout(state),
        "names": [
            f"{d} × {k}" + ("" if (rows, columns) == (d, k) else f", the first {rows} × {columns}"),
            f"its part of rank {r}",
            "left out",
        ],
        "rows": rows,
        "columns": columns,
        "levels": _levels_of(state.matrix),
        "whole": levels(state.matrix, math.inf),
        "kept": levels(state.matrix, state.r),
        "curves": _lines(state.matrix),
        "r": r,
    }


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
    """In fp64. Of the picture two by two pixels are one."""
    M = F.avg_pool2d(picture()[None], 2)[0].double() if matrix == PICTURE else _weights()[matrix].double()
    rows, columns = M.shape if matrix == PICTURE else (CORNER, CORNER)
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    shown = M[:rows, :columns]
    scale = 1.0 if matrix == PICTURE else 2.5 * float(shown.std())
    return _Decomposed((M.shape[0], M.shape[1]), S, shown, U[:rows], Vh[:, :columns], scale)


def _levels_of(matrix: str) -> int:
    return GREYS if matrix == PICTURE else SHADES


@cache
def levels(matrix: str, r: float) -> list[int]:
    """The drawn entries of the part of rank r, row by row, as whole multiples of scale / `_levels_of(matrix)`.

    A matrix's are cut at ± its scale, the picture's a little beyond black and white.
    """
    whole, most = _decomposed(matrix), _levels_of(matrix)
    kept = whole.shown
    if r < min(whole.shape):
        kept = (whole.U[:, : int(r)] * whole.S[: int(r)]) @ whole.Vh[: int(r)]
    return (kept / whole.scale * most).round().clamp(LOWEST, most - LOWEST).int().flatten().tolist()


@cache
def _weights() -> dict[str, Tensor]:
    model = load_model("pocket", device="cpu").model
    names = matched(model, ("all-linear", "wte", "wpe"))
    return {
        n.removeprefix("transformer.").removeprefix("h."): model.get_parameter(f"{n}.weight").detach() for n in names
    }


@cache
def _lines(matrix: str) -> dict[str, list[list[float]]]:
    """By name, [rank, share] of what is drawn over the rank: the energy kept, and what it is compared with."""
    whole = _decomposed(matrix)
    if matrix == PICTURE:
        energies = _energies(whole.S)
        errors = [[r, round(math.sqrt(max(0.0, 1 - energy)), 4)] for r, energy in energies]
        return {"energy kept": energies, "error: norm left out / norm": errors}
    d, k = whole.shape
    losses = _run()["long"]["runs"][0]["loss"][_way(matrix)]
    back = [(losses[0] - losses[_run()["ranks"].index(r)]) / (losses[0] - losses[-1]) for r in RANKS]
    return {
        "recovery, all updates cut to r": [[r, round(share, 4)] for r, share in zip(RANKS, back)],
        "energy of its ΔW": _energies(torch.tensor(_run()["long"]["delta"][matrix])),
        "energy of W0": _energies(whole.S),
        "energy of noise": _energies(torch.tensor(_run()["noise"][f"{d} x {k}"])),
    }


def _energies(S: Tensor) -> list[list[float]]:
    ranks = sorted({min(r, len(S)) for r in RANKS})
    return [[r, round(energy_kept(S, r), 4)] for r in ranks]


def _numbers(matrix: str) -> dict[str, Any]:
    """What explorer.js needs to know of a matrix: energies at every rank offered, to nine digits, and its curves."""
    whole = _decomposed(matrix)
    (d, k), (rows, columns) = whole.shape, whole.shown.shape
    spectra = {"energy": whole.S}
    if matrix != PICTURE:
        spectra["delta"] = torch.tensor(_run()["long"]["delta"][matrix])
        spectra["noise"] = torch.tensor(_run()["noise"][f"{d} x {k}"])
    energies = {name: [round(energy_kept(S, min(r, len(S))), 9) for r in RANKS] for name, S in spectra.items()}
    return energies | {
        "label": label(matrix),
        "d": d,
        "k": k,
        "rows": rows,
        "columns": columns,
        "levels": _levels_of(matrix),
        "rank90": rank_for_energy(whole.S, 0.9),
        "way": "" if matrix == PICTURE else _way(matrix),
        "curves": _lines(matrix),
    }


def _way(matrix: str) -> str:
    return "blocks" if "." in matrix else "all"


def _percent(share: float) -> str:
    """A share to three digits that never rounds up to the whole."""
    return f"{100 * share:.3g}%" if share < 0.9995 or share >= 1 - 1e-9 else "over 99.9%"
