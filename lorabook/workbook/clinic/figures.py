"""The figure of notebook 08: a run over its steps."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lorabook.training.history import History
from lorabook.workbook.kit.figures import BLUE, GREY, new_panes


def run(broken: History, title: str, fixed: History | None = None) -> Figure:
    """Loss and gradient norm of a run over its steps, side by side, the held-out loss as dots.

    Args:
        broken: the run.
        title: what to see.
        fixed: the same run without its fault, drawn over it.
    """
    figure, (left, right) = new_panes(7.6, 2.9, width_ratios=(3, 2))
    drawn = [(broken, GREY if fixed else BLUE, "broken" if fixed else "")]
    if fixed:
        drawn.append((fixed, BLUE, "fixed"))
    for history, colour, label in drawn:
        steps = [step.step for step in history.steps]
        left.plot(steps, history.losses, color=colour, lw=1.8, label=f"{label} training".strip())
        joined = "D--" if len(history.held_out) > 2 else "D"  # two points are no curve
        left.plot(*zip(*history.held_out), joined, color=colour, ms=6, lw=0.8, label=f"{label} held-out".strip())
        right.plot(steps, [step.grad_norm for step in history.steps], color=colour, lw=1.8)
    _number_the_ends(left, [(history, colour) for history, colour, _ in drawn])
    left.set_xlim(-0.06 * len(broken.steps), 1.14 * len(broken.steps))
    left.margins(y=0.16)
    left.set(xlabel="optimizer step", ylabel="loss\n(nats per answer token)")
    figure.legend(frameon=False, fontsize=9, ncols=4, loc="outside lower center")
    right.set(xlabel="optimizer step", ylabel="gradient norm")
    right.set_xlim(0, 1.08 * len(broken.steps))
    right.set_ylim(0, 1.1 * max(y for line in right.get_lines() for y in line.get_ydata()) or 1)
    figure.suptitle(title, fontsize=11)
    return figure


def _number_the_ends(axes: Axes, runs: Sequence[tuple[History, str]]) -> None:
    """The last held-out loss of every run, at its right."""
    for history, colour in runs:
        step, loss = history.held_out[-1]
        axes.annotate(f"{loss:.2f}", (step, loss), xytext=(7, 0), textcoords="offset points", va="center",
                      color=colour, fontsize=9)  # fmt: skip
