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
    figure, axes = new_figure(7.4, 2.7)
    axes.set_axis_off()
    axes.set(xlim=(0, 10), ylim=(0, 4.1), aspect="equal")
    _matrix(axes, (3.2, 2.3), 0.9, 1.7, GREY)
    axes.text(4.25, 3.75, f"W0, {d} × {k}, frozen", fontsize=9)
    _matrix(axes, (2.6, 0.85), 0.9, 0.22, ORANGE)
    axes.text(3.05, 0.77, f"A, {r} × {k}", ha="center", va="top", fontsize=9)
    _matrix(axes, (5.2, 0.1), 0.22, 1.7, ORANGE)
    axes.text(5.31, 1.88, f"B, {d} × {r}", ha="center", fontsize=9)
    for start, end in (
        ((1.1, 2.2), (3.1, 3.1)), ((1.1, 1.9), (2.5, 0.98)), ((3.6, 0.96), (5.1, 0.96)),
        ((4.2, 3.1), (7.5, 2.25)), ((5.55, 0.96), (7.5, 1.9)),
    ):  # fmt: skip
        axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": GREY, "lw": 1.4})
    axes.text(0.95, 2.05, f"x\n{k} values", ha="right", va="center")
    axes.text(4.35, 1.12, f"{r} values", ha="center", fontsize=9)
    axes.text(7.75, 2.07, "+", ha="center", va="center", fontsize=18)
    axes.text(8.05, 2.07, f"h\n{d} values", va="center")
    return figure


def _matrix(axes: Axes, corner: tuple[float, float], width: float, height: float, colour: str) -> None:
    axes.add_patch(Rectangle(corner, width, height, facecolor=colour))
