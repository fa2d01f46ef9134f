"""The figure of notebook 08: a run over its steps."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lorabook.training.history import History
from lorabook.workbook.kit.figures import BLUE, VERMILION, new_panes


def run(broken: History, title: str, fixed: History | None = None) -> Figure:
    """Loss and gradient norm of a run over its steps, side by side, the held-out loss as diamonds.

    Args:
        broken: the run.
        title: what to see.
        fixed: the same run without its fault, drawn over it.
    """
    figure, (left, right) = new_panes(7.6, 2.9, width_ratios=(3, 2))
    drawn = [(broken, VERMILION, "broken" if fixed else "")]
    if fixed:
        drawn.append((fixed, BLUE, "fixed"))
    for history, colour, _ in drawn:
        steps = [step.step for step in history.steps]
        left.plot(steps, history.losses, color=colour, lw=1.8)
        joined = "D--" if len(history.held_out) > 2 else "D"  # two points are no curve
        left.plot(*zip(*history.held_out), joined, color=colour, ms=6, lw=0.8)
        right.plot(steps, [step.grad_norm for step in history.steps], color=colour, lw=1.8)
    _number_the_ends(left, drawn)
    left.set_xlim(-0.18 * len(broken.steps), (1.3 if fixed else 1.16) * len(broken.steps))
    for axes in (left, right):
        axes.set_xticks(range(0, len(broken.steps) + 1, max(1, len(broken.steps) // 4)))
    left.margins(y=0.16)
    left.set(xlabel="optimizer step", ylabel="loss\n(nats per answer token)")
    training, held_out = Line2D([], [], color="black", lw=1.8), Line2D([], [], color="black", marker="D", lw=0)
    figure.legend(
        [training, held_out], ["training", "held-out"], frameon=False, fontsize=9, ncols=2, loc="outside lower center"
    )
    right.set(xlabel="optimizer step", ylabel="gradient norm")
    right.set_xlim(0, 1.08 * len(broken.steps))
    highest = max(y for line in right.get_lines() for y in line.get_ydata()) or 1
    right.set_ylim(-0.05 * highest, 1.1 * highest)  # so that a gradient of zero does not lie on the axis
    figure.suptitle(title, fontsize=11, weight="bold")
    return figure


def _number_the_ends(axes: Axes, runs: Sequence[tuple[History, str, str]]) -> None:
    """The held-out loss before the first step, at its left, and the last of every run with its name, at its right."""
    (step, loss), colour = runs[-1][0].held_out[0], runs[-1][1]
    before = {"xytext": (-7, 0), "textcoords": "offset points", "ha": "right", "va": "center", "fontsize": 9}
    axes.annotate(f"{loss:.2f}", (step, loss), color=colour, **before)
    after = before | {"xytext": (7, 0), "ha": "left"}
    for history, colour, name in runs:
        step, loss = history.held_out[-1]
        axes.annotate(f"{loss:.2f} {name}".strip(), (step, loss), color=colour, **after)
