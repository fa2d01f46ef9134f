"""The figures of notebook 08: a run over its steps, the doctor's confusion table."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from lorabook.training.history import History
from lorabook.workbook.kit.figures import BLUE, GREY, ORANGE, VERMILION, new_panes


def patient(run: History, title: str, fixed: History | None = None) -> Figure:
    """Loss and gradient norm of a run over its steps, side by side, the held-out loss as dots.

    Args:
        run: the run.
        title: what to see.
        fixed: the same run with its fault taken out, as far as it went, drawn over it.
    """
    figure, (left, right) = new_panes(7.6, 2.9, width_ratios=(3, 2))
    drawn = [(run, BLUE, VERMILION, "", "this run", "held out")]
    if fixed:
        drawn = [(run, GREY, GREY, "", "as it was", "held out"), (fixed, BLUE, VERMILION, ".", "fixed", "held out")]
    for history, colour, held, marker, label, held_label in drawn:
        steps = [s.step for s in history.steps]
        left.plot(steps, history.losses, color=colour, lw=1.8, marker=marker, label=label)
        right.plot(steps, [s.grad_norm for s in history.steps], color=colour, lw=1.8, marker=marker)
        left.plot(*zip(*history.held_out), "o", color=held, ms=6, zorder=3, label=held_label)
    _number_the_dots(left, [(history, held) for history, _, held, *_ in drawn])
    left.set_xlim(-0.06 * len(run.steps), 1.14 * len(run.steps))
    left.margins(y=0.16)
    left.set(xlabel="optimizer step", ylabel="loss\n(nats per answer token)")
    figure.legend(frameon=False, fontsize=9, ncols=4, loc="outside lower center")
    right.set(xlabel="optimizer step", ylabel="gradient norm")
    right.set_xlim(0, 1.08 * len(run.steps))
    right.set_ylim(0, 1.1 * max(y for line in right.get_lines() for y in line.get_ydata()) or 1)
    figure.suptitle(title, fontsize=11)
    return figure


def _number_the_dots(axes: Axes, runs: Sequence[tuple[History, str]]) -> None:
    """Every held-out loss at its dot: over or under it at the start, beside it at the end; once where runs agree."""
    starts = [history.held_out[0][1] for history, _ in runs if history.held_out]
    written: set[tuple[int, str]] = set()
    for history, colour in reversed(runs):
        for step, loss in history.held_out:
            offset, across = ((0, 10 if loss == max(starts) else -11), "center") if step == 0 else ((6, 0), "left")
            if (step, f"{loss:.2f}") not in written:
                axes.annotate(f"{loss:.2f}", (step, loss), xytext=offset, textcoords="offset points", ha=across,
                              va="center", color=colour, fontsize=9)  # fmt: skip
            written.add((step, f"{loss:.2f}"))


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
