"""The Start explorer: a weight and its LoRA, drawn to scale, while r moves."""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lorabook.memory.families import shape_of
from lorabook.workbook.kit.break_even import break_even_rank
from lorabook.workbook.kit.controls import buttons, slider
from lorabook.workbook.kit.explorer import Explorer
from lorabook.workbook.kit.figures import GREY, ORANGE
from lorabook.workbook.kit.sizes import size_text

RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
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
        super().__init__(controls, StartState(), figure, readout, size=(840, 400))


def trained(state: StartState) -> int:
    """r (d + k): the parameters of B (d, r) and A (r, k) together."""
    return state.r * sum(state.shape)


def figure(state: StartState, figure: Figure | None = None) -> Figure:
    """W0, B and A side by side at one scale: grey is frozen, orange is trained."""
    figure = figure or Figure(figsize=(8.4, 4.0), dpi=100, facecolor="white")
    figure.clear()
    (d, k), r = state.shape, state.r
    gap = max(d, k) / 20
    axes = figure.add_axes((0.012, 0.02, 0.976, 0.86))
    axes.set(xlim=(0, max(2.6 * k, 2 * k + r) + 2 * gap), ylim=(-1.02 * max(d, r), 0.02 * d), aspect="equal")
    axes.set_anchor("NW")
    axes.set_axis_off()
    _block(axes, 0, d, k, GREY)
    _block(axes, k + gap, d, r, ORANGE)
    _block(axes, k + r + 2 * gap, r, k, ORANGE)
    axes.text(k / 2, -d / 2, f"W0\n{d} × {k}\nfrozen", ha="center", va="center")
    beside, below = k + r + 2 * gap, -r - gap  # where a thin block's name has room
    wide, high = r > k / 2, r > d / 3
    axes.text(*((k + gap + r / 2, -d / 2) if wide else (beside, -0.55 * max(d, 2 * r))), f"B\n{d} × {r}\ntrained",
              ha="center" if wide else "left", va="center")  # fmt: skip
    axes.text(*((beside + k / 2, -r / 2) if high else (beside + k / 2, below)), f"A\n{r} × {k}\ntrained",
              ha="center", va="center" if high else "top")  # fmt: skip
    figure.text(0.988, 0.94, "h = W0 x + (α/r) B A x", fontsize=12, ha="right")
    figure.text(0.012, 0.94, f"Rank {r}: B and A have {_share(state)} as many parameters as W0", fontsize=12)
    return figure


def readout(state: StartState) -> str:
    """The same in sentences: the parameters of W0, of B and A, and when LoRA would be larger than the matrix."""
    (d, k), r = state.shape, state.r
    limit = break_even_rank(d, k)
    return "\n".join(
        (
            f"Frozen: W0, {d} × {k} = {d * k:,} parameters.",
            f"Trained: B, {d} × {r}, and A, {r} × {k}, together r (d + k) = {trained(state):,} parameters, "
            f"{size_text(4 * trained(state))} in fp32.",
            f"From rank {limit + 1:,} on, B and A have more parameters than W0.",
        )
    )


def _share(state: StartState) -> str:
    d, k = state.shape
    return f"{100 * trained(state) / (d * k):.3g}%"


def _block(axes: Axes, left: float, rows: int, columns: int, colour: str) -> None:
    """A matrix as a rectangle from the top; its edge keeps in sight what is thinner than a pixel."""
    axes.add_patch(Rectangle((left, -rows), columns, rows, facecolor=colour, edgecolor=colour, lw=0.8))
