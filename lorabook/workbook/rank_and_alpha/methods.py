"""What each way to fine-tune recovers over the number of parameters that it trains."""

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lorabook.workbook.kit.figures import BLUE, GREEN, GREY, ORANGE, SKY, VERMILION, new_figure

# What can be trained, in one colour and shape throughout.
METHODS = {
    "random subspace": (GREY, "o"),
    "LoRA": (BLUE, "o"),
    "bottleneck adapters": (ORANGE, "s"),
    "embeddings alone": (GREEN, "v"),
    "linear layers alone": (SKY, "^"),
    "every parameter": (VERMILION, "D"),
}


@dataclass(frozen=True)
class Series:
    """Points of one method: trained parameters, and the recovery, one value for each seed."""

    parameters: tuple[int, ...]
    recoveries: tuple[tuple[float, ...], ...]
    names: tuple[str, ...] = ()

    @property
    def means(self) -> list[float]:
        return [sum(values) / len(values) for values in self.recoveries]


def recovery(series: Mapping[str, Series], title: str) -> Figure:
    """Recovery over the number of trained parameters, by method of METHODS, a dot for each seed."""
    figure, axes = new_figure(8.2, 4.6)
    axes.axhline(1, color="black", lw=1)
    for method, points in series.items():
        colour, marker = METHODS[method]
        line = "-" if len(points.parameters) > 1 else ""
        axes.plot(points.parameters, points.means, line + marker, color=colour, lw=1.8, ms=7, label=method)
        for number, values in zip(points.parameters, points.recoveries):
            axes.plot([number] * len(values), values, ".", color=colour, ms=5, alpha=0.7)
        for number, mean, name in zip(points.parameters, points.means, points.names):
            axes.annotate(name, (number, mean), xytext=(0, 7), textcoords="offset points", fontsize=8.5, color=colour,
                          ha="center")  # fmt: skip
    axes.set_xscale("log")
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.set_ylim(0, 1.12)
    axes.set(xlabel="trained parameters (log scale)", ylabel="recovery", title=title)
    axes.legend(frameon=False, fontsize=9)
    return figure
