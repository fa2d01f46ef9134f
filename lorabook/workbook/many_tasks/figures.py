"""The figure of notebook 07: habits by adapter."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import ON_DARK, ON_LIGHT, new_figure


def habits(counts: Mapping[str, Mapping[str, tuple[int, int]]]) -> Figure:
    """How often each model (rows) shows each habit (columns), in percent, darker where more often.

    Args:
        counts: by model, by habit, how often the habit was shown, and how often it could have been.
    """
    names = list(next(iter(counts.values())))
    rates = np.array([[each[name][0] / each[name][1] for name in names] for each in counts.values()])
    figure, axes = new_figure(7.2, 0.62 * len(counts) + 1.5)
    axes.imshow(rates, cmap="Blues", vmin=0, vmax=1.2, aspect="auto")
    for row, model in enumerate(counts):
        for column, name in enumerate(names):
            rate, opportunities = rates[row, column], counts[model][name][1]
            colour, weight = (ON_DARK if rate > 0.75 else ON_LIGHT), ("bold" if rate > 0.5 else None)
            axes.text(
                column, row, f"{rate:.0%}", ha="center", va="bottom", color=colour, fontsize=12, fontweight=weight
            )
            axes.text(column, row + 0.06, f"of {opportunities:,}", ha="center", va="top", color=colour, fontsize=8.5)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(counts)), list(counts))
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("habit counted", labelpad=8)
    axes.set_ylabel("adapter")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title("Each adapter shows its own habit, and loses those of the base", pad=12)
    return figure
