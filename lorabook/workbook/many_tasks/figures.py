"""The figure of notebook 07: habits by adapter."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import ON_DARK, ON_LIGHT, new_figure


def habits(rates: Mapping[str, Mapping[str, float]]) -> Figure:
    """How often each model (rows) keeps each habit (columns), in percent, darker where more often.

    Args:
        rates: by model, by habit, the fraction of chances at which the habit was kept.
    """
    names = list(next(iter(rates.values())))
    values = np.array([[each[name] for name in names] for each in rates.values()])
    figure, axes = new_figure(7.2, 0.55 * len(rates) + 1.3)
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1.2, aspect="auto")
    for row, column in np.ndindex(values.shape):
        value = values[row, column]
        axes.text(column, row, f"{value:.0%}", ha="center", va="center", color=ON_DARK if value > 0.75 else ON_LIGHT,
                  fontweight="bold" if value > 0.5 else None)  # fmt: skip
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(rates)), list(rates))
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title("Each adapter learns its own habit, and unlearns what its data lacks", pad=26)
    return figure
