"""The figures of notebook 08: runs over their steps, and how far B has moved in each layer."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lorabook.training.history import History
from lorabook.workbook.kit.figures import BLUE, GREY, VERMILION, new_figure, new_panes


def runs(broken: Mapping[str, History], title: str, fixed: Sequence[History] = ()) -> Figure:
    """Loss curves of several runs side by side: training as a line, held-out as diamonds, first and last written.

    Args:
        broken: the runs, by what stands above each.
        title: what to see.
        fixed: of each, the same run without its fault, drawn over it.
    """
    figure, panes = new_panes(7.8, 2.6, len(broken))
    for i, (axes, (name, history)) in enumerate(zip(panes, broken.items())):
        _draw(axes, history, VERMILION)
        _write(axes, history.held_out[0], -6, "right", GREY)
        if fixed:
            _draw(axes, fixed[i], BLUE)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("optimizer step")
        axes.set_xlim(-0.33 * len(history.steps), 1.25 * len(history.steps))
        axes.set_ylim(0, 1.05 * _highest(axes))
    panes[0].set_ylabel("loss per answer token")
    entries = [
        Line2D([], [], color="black", lw=1, label="training"),
        Line2D([], [], color="black", marker="D", ls="", label="held-out"),
    ]
    if fixed:
        entries += [Line2D([], [], color=c, lw=5, label=n) for c, n in ((VERMILION, "broken"), (BLUE, "fixed"))]
    figure.legend(handles=entries, frameon=False, fontsize=9, ncols=4, loc="outside lower center")
    figure.suptitle(title, fontsize=11, weight="bold")
    return figure


def _highest(axes: Axes) -> float:
    """The highest loss that is drawn."""
    return max(float(y) for line in axes.get_lines() for y in line.get_ydata())  # pyright: ignore[reportGeneralTypeIssues]


def _draw(axes: Axes, history: History, colour: str) -> None:
    axes.plot([step.step for step in history.steps], history.losses, color=colour, lw=1, alpha=0.6)
    axes.plot(*zip(*history.held_out), "D", color=colour, ms=5, zorder=3)
    _write(axes, history.held_out[-1], 6, "left", colour)


def _write(axes: Axes, point: tuple[int, float], shift: int, align: str, colour: str) -> None:
    """The loss of a point beside it."""
    beside = {"textcoords": "offset points", "ha": align, "va": "center", "fontsize": 9, "color": colour}
    axes.annotate(f"{point[1]:.2f}", point, (shift, 0), **beside)


def norms(broken: Mapping[str, float], healthy: Mapping[str, float], title: str) -> Figure:
    """The norm of B in each linear layer of two runs as bars, with a gap between the blocks; a zero is written.

    Args:
        broken: by the layer's name, such as transformer.h.0.mlp.c_fc, block after block.
        healthy: the same of a run without a fault, drawn behind it.
        title: what to see.
    """
    figure, axes = new_figure(7.2, 2.8)
    blocks: dict[int, int] = {}  # how many layers each has had
    places = []
    for name in broken:
        block = int(name.split(".h.")[1].split(".")[0])
        places.append(5 * block + blocks.get(block, 0))
        blocks[block] = blocks.get(block, 0) + 1
    axes.bar(places, [healthy[name] for name in broken], 0.9, color="none", edgecolor=GREY, label="healthy run")
    axes.bar(places, list(broken.values()), 0.6, color=VERMILION, label="broken run")
    for place, norm in zip(places, broken.values()):
        if norm == 0:
            axes.annotate("0", (place, 0), (0, 3), textcoords="offset points", ha="center", fontsize=9, color=VERMILION)
    axes.set_xticks([5 * block + 1.5 for block in blocks], [f"block {block}" for block in blocks])
    axes.tick_params(axis="x", length=0)
    axes.set(ylabel="norm of B")
    axes.set_title(title, fontsize=11, weight="bold")
    figure.legend(frameon=False, ncols=2, loc="outside lower center")
    return figure
