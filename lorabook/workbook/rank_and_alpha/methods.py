"""What each way to fine-tune recovers over the number of parameters that it trains."""

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lorabook.workbook.kit.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION, new_figure
from lorabook.workbook.kit.tuned import tuned_runs

# What can be trained: its colour and shape, and which of its points the name stands beside, how far off in points.
METHODS = {
    "random subspace": (GREY, "o", 1, (-12, 6)),
    "LoRA": (BLUE, "o", 1, (-22, 10)),
    "bottleneck adapters": (ORANGE, "s", 1, (130, -14)),
    "embeddings alone": (GREEN, "v", 0, (20, -18)),
    "full fine-tuning": (PURPLE, "^", 0, (30, -18)),
    "every parameter": (VERMILION, "D", 0, (36, 10)),
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


def all_methods() -> dict[str, Series]:
    """Every method on the pocket model, 240 questions, each at its best learning rate."""
    runs = tuned_runs("pocket")

    def series(*found: str, names: tuple[str, ...] = ()) -> Series:
        parameters = tuple(runs[name].parameters for name in found)
        return Series(parameters, tuple(tuple(runs[name].recoveries) for name in found), names)

    def sizes(method: str) -> Series:
        return series(*(name for name in runs if name.startswith(f"{method}, ")))

    ranks = (1, 4, 16, 64)
    return {
        "random subspace": sizes("random subspace"),
        "LoRA": series(*(f"r = {r}, α = 32" for r in ranks), names=("r = 1", "4", "16", "64")),
        "bottleneck adapters": sizes("bottleneck adapters"),
        "embeddings alone": series("embeddings alone"),
        "full fine-tuning": series("full fine-tuning"),
        "every parameter": series("every parameter"),
    }


def recovery(series: Mapping[str, Series], title: str) -> Figure:
    """Recovery over the number of trained parameters, each method of METHODS named beside its line; a dot is a seed."""
    figure, axes = new_figure(8.2, 4.4)
    for method, points in series.items():
        colour, marker, at, offset = METHODS[method]
        line = "-" if len(points.parameters) > 1 else ""
        axes.plot(points.parameters, points.means, line + marker, color=colour, lw=1.8, ms=7, label=method)
        for number, values in zip(points.parameters, points.recoveries):
            axes.plot([number] * len(values), values, ".", color=colour, ms=5, alpha=0.7)
        for number, mean, name in zip(points.parameters, points.means, points.names):
            axes.annotate(name, (number, mean), (0, 7), textcoords="offset points", fontsize=8.5, color=colour,
                          ha="center")  # fmt: skip
        place = (points.parameters[at], points.means[at])
        axes.annotate(method, place, offset, textcoords="offset points", color=colour, ha="right")
    axes.set_xscale("log")
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.set_ylim(0.2, 1.15)
    axes.set_xlim(right=1.2e7)
    axes.set(xlabel="trained parameters (log scale)", ylabel="recovery", title=title)
    return figure
