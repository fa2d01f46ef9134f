"""The Start explorer: a weight and its LoRA, drawn to scale, while r moves."""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lorabook.memory.families import shape_of
from lorabook.sizes import size_text
from lorabook.workbook.kit.break_even import break_even_rank
from lorabook.workbook.kit.controls import buttons, slider
from lorabook.workbook.kit.explorer import Explorer
from lorabook.workbook.kit.figures import GREY, ORANGE

RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
# (d, k) by name: attention's first matrix and the MLP's, of StarCoderBase-1B and of the pocket model.
MATRICES = {
    f"{short}, {m.name.split('.')[1]}": (m.d, m.k)
    for short, model in (("1B", "bigcode/starcoderbase-1b"), ("pocket", "pocket"))
    for m in shape_of(model).linears
    if m.name in ("attn.c_attn", "mlp.c_fc")
}


WIDTH, HEIGHT = 840, 400
TOP, LABEL, LABEL_WIDE, GAP = 38, 34, 84, 8  # pixels: title, a label above, a label beside, between blocks


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
        super().__init__(controls, StartState(), figure, readout, size=(WIDTH, HEIGHT))


def trained(state: StartState) -> int:
    """r (d + k): the parameters of B (d, r) and A (r, k) together."""
    return state.r * sum(state.shape)


def figure(state: StartState, figure: Figure | None = None) -> Figure:
    """W0, and beside it B and A around the outline of their product: all to one scale, orange is trained."""
    figure = figure or Figure(figsize=(8.4, 4.0), dpi=100, facecolor="white")
    figure.clear()
    (d, k), r = state.shape, state.r
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))  # in pixels, from the top
    axes.set_axis_off()
    scale = min((HEIGHT - TOP - LABEL - GAP - 10) / (d + r), (WIDTH - 20 - 2 * LABEL_WIDE - GAP) / (2 * k + r))
    high, wide, thin = d * scale, k * scale, r * scale
    top = TOP + LABEL + thin + GAP  # of W0, B and BA
    left = 10 + wide + 2 * LABEL_WIDE  # of B
    product = left + thin + GAP
    _block(axes, 10, top, wide, high, GREY)
    _block(axes, left, top, thin, high, ORANGE)
    _block(axes, product, TOP + LABEL, wide, thin, ORANGE)
    axes.add_patch(Rectangle((product, top), wide, high, fill=False, edgecolor=ORANGE, ls="--"))
    middle, narrow = top + high / 2, wide < LABEL_WIDE
    size = f"{d} ×\n{k}" if narrow else f"{d} × {k}"
    _text(axes, 10 + wide / 2, middle, f"W0\n{size}\nfrozen")
    _text(axes, product + wide / 2, middle, f"B A\n{size}\nnot stored")
    _text(axes, 10 + wide + LABEL_WIDE, middle, "+ (α/r) ·", size=11)
    above = TOP + LABEL / 2
    _text(axes, left + thin, above, f"B\n{d} × {r}, trained", side="right")
    _text(axes, product, above, f"A\n{r} × {k}, trained", side="left")
    title = f"Rank {r}: B and A have {_share(state)} as many parameters as W0"
    figure.text(10 / WIDTH, 0.94, title, fontsize=12)
    figure.text(1 - 16 / WIDTH, 0.94, "h = W0 x + (α/r) B A x", fontsize=12, ha="right")
    return figure


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


def _share(state: StartState) -> str:
    d, k = state.shape
    return f"{100 * trained(state) / (d * k):.3g}%"


def _block(axes: Axes, left: float, top: float, width: float, height: float, colour: str) -> None:
    """A matrix as a rectangle; its edge keeps in sight what is thinner than a pixel."""
    axes.add_patch(Rectangle((left, top), width, height, facecolor=colour, edgecolor=colour, lw=0.8))


def _text(axes: Axes, x: float, y: float, text: str, side: str = "center", size: float = 9) -> None:
    axes.text(x, y, text, ha=side, va="center", fontsize=size)
