"""The figure of notebook 07: habits by adapter."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import ON_DARK, ON_LIGHT, VERMILION, new_figure


def habits(shares: Mapping[str, Mapping[str, float]]) -> Figure:
    """How often each model (rows) shows each habit (columns), in percent, darker where more often.

    Vermilion is what the first model shows in at least a tenth of the cases, and another in less than half as many.

    Args:
        shares: by model, by habit, the fraction of opportunities in which the habit was shown; the base first, the
            control last.
    """
    base, *_ = shares.values()
    names = list(base)
    rates = np.array([[each[name] for name in names] for each in shares.values()])
    figure, axes = new_figure(7.2, 0.5 * len(shares) + 1.7)
    axes.imshow(rates, cmap="Blues", vmin=0, vmax=1.2, aspect="auto")
    for row in range(len(shares)):
        for column, name in enumerate(names):
            rate = rates[row, column]
            gone = base[name] >= 0.1 and rate < base[name] / 2
            colour = VERMILION if gone else ON_DARK if rate > 0.75 else ON_LIGHT
            weight = "bold" if gone or rate > 0.5 else None
            axes.text(column, row, f"{rate:.0%}", ha="center", va="center", color=colour, fontsize=12, weight=weight)
    axes.set_xticks(range(len(names)), names)
    more = {"base": "base (no adapter)", "plain": "plain (control)"}
    axes.set_yticks(range(len(shares)), [more.get(name, name) for name in shares])
    for border in (0.5, len(shares) - 1.5):  # the base, the adapters with a habit, the control
        axes.axhline(border, color="white", lw=3)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("habit counted", labelpad=8)
    axes.set_ylabel("adapter")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title("Each adapter shows its own habit.\nOrange: a habit of the base that disappeared", pad=12)
    return figure
