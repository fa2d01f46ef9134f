"""The figures of notebook 08: a run over its steps, and how far B has moved in each layer."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lorabook.training.history import History
from lorabook.workbook.kit.figures import BLUE, GREY, VERMILION, new_figure, new_panes


def run(broken: History, fixed: History, title: str, names: tuple[str, str]) -> Figure:
    """Loss and gradient norm of two runs over their steps, side by side, the held-out loss as diamonds.

    Args:
        broken: the run.
        fixed: the same run without its fault, drawn over it.
        title: what to see.
        names: what the legend calls the two.
    """
    figure, (left, right) = new_panes(7.6, 2.9, width_ratios=(3, 2))
    drawn = [(broken, VERMILION), (fixed, BLUE)]
    for history, colour in drawn:
        steps = [step.step for step in history.steps]
        left.plot(steps, history.losses, color=colour, lw=1.8)
        joined = "D--" if len(history.held_out) > 2 else "D"  # two points are no curve
        left.plot(*zip(*history.held_out), joined, color=colour, ms=6, lw=0.8)
        right.plot(steps, [step.grad_norm for step in history.steps], color=colour, lw=1.8)
    _number_the_ends(left, drawn)
    left.set_xlim(-0.18 * len(broken.steps), 1.16 * len(broken.steps))
    for axes in (left, right):
        axes.set_xticks(range(0, len(broken.steps) + 1, max(1, len(broken.steps) // 4)))
    left.margins(y=0.16)
    left.set(xlabel="optimizer step", ylabel="loss per answer token")
    style = "--" if len(broken.held_out) > 2 else "none"
    entries = [
        *(Line2D([], [], color=colour, lw=5, label=name) for (_, colour), name in zip(drawn, names)),
        Line2D([], [], color="black", lw=1.8, label="training"),
        Line2D([], [], color="black", marker="D", ls=style, lw=0.8, label="held-out"),
    ]
    figure.legend(handles=entries, frameon=False, fontsize=9, ncols=4, loc="outside lower center")
    right.set(xlabel="optimizer step", ylabel="gradient norm")
    right.set_xlim(0, 1.08 * len(broken.steps))
    highest = max(y for line in right.get_lines() for y in line.get_ydata()) or 1
    right.set_ylim(-0.05 * highest, 1.1 * highest)  # so that a gradient of zero does not lie on the axis
    figure.suptitle(title, fontsize=11, weight="bold")
    return figure


def _number_the_ends(axes: Axes, runs: Sequence[tuple[History, str]]) -> None:
    """The held-out loss before the first step, the last of every run, and the lowest of the first run."""
    step, loss = runs[-1][0].held_out[0]
    before = {"xytext": (-7, 0), "textcoords": "offset points", "ha": "right", "va": "center", "fontsize": 9}
    axes.annotate(f"{loss:.2f}", (step, loss), **before)
    after = before | {"xytext": (7, 0), "ha": "left"}
    lowest, at = min((loss, step) for step, loss in runs[0][0].held_out)
    if at not in (runs[0][0].held_out[0][0], runs[0][0].held_out[-1][0]):
        above = before | {"xytext": (0, 11), "ha": "center"}
        axes.annotate(f"{lowest:.2f}", (at, lowest), color=runs[0][1], **above)
    for history, colour in runs:
        step, loss = history.held_out[-1]
        axes.annotate(f"{loss:.2f}", (step, loss), color=colour, **after)


def norms(broken: Mapping[str, float], fixed: Mapping[str, float], title: str) -> Figure:
    """The norm of B in each linear layer of two runs as bars, with a gap between the blocks; a zero is written.

    Args:
        broken: by the layer's name, such as transformer.h.0.mlp.c_fc, block after block.
        fixed: the same of the run without the fault, drawn behind it.
        title: what to see.
    """
    figure, axes = new_figure(7.2, 2.8)
    blocks: dict[int, int] = {}  # how many layers each has had
    places = []
    for name in broken:
        block = int(name.split(".h.")[1].split(".")[0])
        places.append(5 * block + blocks.get(block, 0))
        blocks[block] = blocks.get(block, 0) + 1
    axes.bar(places, [fixed[name] for name in broken], 0.9, color="none", edgecolor=GREY, label="fixed run")
    axes.bar(places, list(broken.values()), 0.6, color=BLUE, label="this run")
    for place, norm in zip(places, broken.values()):
        if norm == 0:
            axes.annotate("0", (place, 0), (0, 3), textcoords="offset points", ha="center", fontsize=9, color=BLUE)
    axes.set_xticks([5 * block + 1.5 for block in blocks], [f"block {block}" for block in blocks])
    axes.tick_params(axis="x", length=0)
    axes.set(ylabel="norm of B")
    axes.set_title(title, fontsize=11, weight="bold")
    figure.legend(frameon=False, ncols=2, loc="outside lower center")
    return figure
