"""The figures of notebook 07: habits by adapter, and the time of a forward pass."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import BLUE, GREY, ON_DARK, ON_LIGHT, ORANGE, SKY, new_figure

BARS = (GREY, SKY, BLUE, ORANGE)  # base, LoRA unmerged and merged, bottleneck: as in notebook 03


def habits(rates: Mapping[str, Mapping[str, float]], title: str) -> Figure:
    """How often each model (rows) keeps each habit (columns), in percent, darker where more often.

    Args:
        rates: by model, by habit, the fraction of chances at which the habit was kept.
        title: what to see.
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
    axes.set_title(title, pad=26)
    return figure


def latencies(
    ratios: Mapping[str, Mapping[str, float]], paper: Mapping[str, Mapping[str, float]], title: str
) -> Figure:
    """Time of a forward pass over the base's, a group a batch, a bar a contender, the paper's figures as marks.

    Args:
        ratios: by batch, by contender, time ÷ the base's; the same four contenders in every batch at most.
        paper: of the same names, what the paper reports; any of them may be absent.
        title: what to see.
    """
    figure, axes = new_figure(7.6, 3.6)
    axes.set_ylim(0, 1.35 * max(max(group.values()) for table in (ratios, paper) for group in table.values()))
    width = 0.84 / max(len(contenders) for contenders in ratios.values())
    for group, (batch, contenders) in enumerate(ratios.items()):
        for i, ((name, ratio), colour) in enumerate(zip(contenders.items(), BARS)):
            place = group + (i - (len(contenders) - 1) / 2) * width
            bar = axes.bar(place, ratio, 0.9 * width, color=colour, label=name if group == 0 else None)
            ink = ON_DARK if colour == BLUE else ON_LIGHT
            axes.bar_label(bar, fmt="%.2f", label_type="center", color=ink, fontsize=9)
            reported = paper.get(batch, {}).get(name)
            if reported is not None:
                axes.plot([place], [reported], "D", color="black", mfc="none", ms=6)
    axes.plot([], [], "D", color="black", mfc="none", ms=6, label="paper, Table 1")
    axes.axhline(1, color="black", lw=0.8, zorder=0)
    axes.set_xticks(range(len(ratios)), list(ratios))
    axes.set(ylabel="time of a forward pass ÷ base's", title=title)
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="upper left")
    return figure
