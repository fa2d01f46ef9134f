"""The figure of notebook 01: the two paths of a LoRA layer."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lorabook.workbook.kit.figures import GREY, ORANGE, new_figure


def two_paths(d: int, k: int, r: int) -> Figure:
    """x through W0, and x through A and B, whose outputs are added.

    Boxes have the shape of their matrix: its width is that of its input, its height that of its output. The rank is
    drawn wider than it is.
    """
    figure, axes = new_figure(7.4, 2.9)
    axes.set_axis_off()
    axes.set(xlim=(0, 10), ylim=(0, 4.4), aspect="equal")
    _matrix(axes, (3.3, 2.2), 0.55, 2.2, GREY)
    axes.text(4.0, 4.1, f"W0, {d} × {k}, frozen", fontsize=9)
    _matrix(axes, (2.8, 0.95), 0.55, 0.14, ORANGE)
    axes.text(3.08, 0.85, f"A, {r} × {k}", ha="center", va="top", fontsize=9)
    _matrix(axes, (5.2, 0.0), 0.14, 2.2, ORANGE)
    axes.text(5.5, 1.95, f"B, {d} × {r}", fontsize=9)
    for start, end in (
        ((1.1, 2.4), (3.2, 3.2)), ((1.1, 2.1), (2.7, 1.05)), ((3.45, 1.02), (5.1, 1.02)),
        ((3.95, 3.2), (7.3, 2.45)), ((5.45, 1.02), (7.3, 2.1)), ((7.8, 2.27), (8.3, 2.27)),
    ):  # fmt: skip
        axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": GREY, "lw": 1.4})
    axes.text(0.95, 2.25, f"x\n{k} values", ha="right", va="center")
    axes.text(4.27, 1.15, f"{r} values", ha="center", fontsize=9)
    axes.text(6.5, 1.25, "times α/r", fontsize=9)
    axes.text(7.55, 2.27, "+", ha="center", va="center", fontsize=18)
    axes.text(8.4, 2.27, f"h\n{d} values", va="center")
    return figure


def _matrix(axes: Axes, corner: tuple[float, float], width: float, height: float, colour: str) -> None:
    axes.add_patch(Rectangle(corner, width, height, facecolor=colour))
