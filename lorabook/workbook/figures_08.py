"""The figures of notebook 08: a run's loss and gradient norm over its steps, and the doctor's confusion table."""

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from lorabook.history import History
from lorabook.workbook.figures import BLUE, GREY, ORANGE, VERMILION


def patient(run: History, title: str, healthy: History | None = None) -> Figure:
    """Loss and gradient norm of a run over its steps, side by side, the held-out loss as dots at both ends.

    Args:
        run: the run.
        title: what to see.
        healthy: the same run without the fault, drawn behind it in grey.
    """
    figure = Figure(figsize=(7.6, 2.9), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for history, colour, label in ((healthy, GREY, "the same without the fault"), (run, BLUE, "this run")):
        if history is None:
            continue
        steps = [s.step for s in history.steps]
        left.plot(steps, history.losses, color=colour, lw=1.8, label=label)
        right.plot(steps, [s.grad_norm for s in history.steps], color=colour, lw=1.8)
        left.plot(*zip(*history.held_out), "o", color=colour if history is healthy else VERMILION, ms=6, zorder=3)
    for (step, loss), (offset, across) in zip(run.held_out, (((0, 10), "center"), ((6, 0), "left"))):
        left.annotate(f"{loss:.2f}", (step, loss), xytext=offset, textcoords="offset points", ha=across, va="center",
                      color=VERMILION, fontsize=9)  # fmt: skip
    left.set_xlim(-0.06 * len(run.steps), 1.14 * len(run.steps))
    left.plot([], [], "o", color=VERMILION, ms=6, label="held out")
    left.margins(y=0.16)
    left.set(xlabel="optimizer step", ylabel="loss\n(nats per answer token)")
    figure.legend(frameon=False, fontsize=9, ncols=3, loc="outside lower center")
    right.set(xlabel="optimizer step", ylabel="gradient norm")
    right.set_xlim(0, 1.08 * len(run.steps))
    right.set_ylim(0, 1.1 * max(y for line in right.get_lines() for y in line.get_ydata()) or 1)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    return figure


def confusion(table: Mapping[str, Mapping[str, int]], title: str) -> Figure:
    """How many runs with what ails them (rows) were told what (columns), blue where both agree, else orange."""
    rows, columns = list(table), list(next(iter(table.values())))
    counts = np.array([list(row.values()) for row in table.values()])
    right = np.array([[row == column for column in columns] for row in rows])
    kinds = np.where(counts == 0, 0, np.where(right, 1, 2))
    figure = Figure(figsize=(7.2, 5.0), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.imshow(kinds, cmap=ListedColormap(["white", BLUE, ORANGE]), vmin=0, vmax=2)
    for y, x in zip(*np.nonzero(counts)):
        axes.text(x, y, str(counts[y, x]), ha="center", va="center", color="white", weight="bold")
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(np.arange(len(columns) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="#dddddd")
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_color("#dddddd")
    axes.set(xlabel="what the doctor says", ylabel="what is wrong")
    figure.suptitle(title, fontsize=11.5)
    return figure
