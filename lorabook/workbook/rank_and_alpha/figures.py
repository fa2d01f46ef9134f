"""The figures of notebook 03: learning rates, budgets, recovery, forgetting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lorabook.workbook.kit.figures import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    VERMILION,
    new_figure,
    new_panes,
)
from lorabook.workbook.kit.tuned import Tuned

LOOKS = {
    "full": ("black", "D"),
    "r = 1": (SKY, "v"),
    "r = 4": (GREEN, "s"),
    "r = 16": (BLUE, "o"),
    "r = 64": (ORANGE, "^"),
}
# What can be trained, in one colour and shape throughout.
METHODS = {
    "random subspace": (GREY, "o"),
    "LoRA": (BLUE, "o"),
    "bottleneck adapters": (ORANGE, "s"),
    "full, embeddings": (GREEN, "v"),
    "full, linear layers": (SKY, "^"),
    "full, everything": (VERMILION, "D"),
}


def rate_curves(panels: Sequence[tuple[str, Mapping[str, Tuned], str]], title: str) -> Figure:
    """Validation loss over the learning rate, one curve for each rank and for full fine-tuning, its best rate filled.

    Args:
        panels: of each, its title, the runs of `tuned_runs`, and the scaling rule, "α/r" or "α/√r".
        title: what to see.
    """
    figure, panes = new_panes(9.0, 3.7, len(panels))
    for axes, (name, runs, rule) in zip(panes, panels):
        rates: set[float] = set()
        for label, (colour, marker) in LOOKS.items():
            run = runs.get("full fine-tuning" if label == "full" else f"{label}, {rule}")
            if run:
                axes.plot(*zip(*sorted(run.rates.items())), marker + "-", color=colour, ms=5, mfc="none", label=label)
                axes.plot(run.lr, run.rates[run.lr], marker, color=colour, ms=7)
                rates |= run.rates.keys()
        axes.set_xscale("log")
        ticks = sorted(rates)[-1::-2]
        axes.set_xticks(ticks, [f"{lr:.6f}".rstrip("0") for lr in ticks])
        axes.minorticks_off()
        axes.set_xlabel("learning rate (log scale)")
        axes.set_title(name, fontsize=10)
    panes[0].set_ylabel("validation loss (nats per token)")
    panes[-1].legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.suptitle(title, fontsize=11.5)
    return figure


def recovery_by_rank(lines: Mapping[str, Mapping[int, float]], title: str) -> Figure:
    """Recovery over the rank, a colour for each model, whose second line is dashed.

    Args:
        lines: by name, "MODEL, … questions", the recovery by rank.
        title: what to see.
    """
    figure, axes = new_figure(7.6, 3.6)
    axes.axhline(1, color="black", lw=0.8)
    colours: dict[str, str] = {}
    for name, values in lines.items():
        model = name.partition(",")[0]
        dashed = model in colours
        colour = colours.setdefault(model, (BLUE, VERMILION)[len(colours) % 2])
        axes.plot(*zip(*sorted(values.items())), "--s" if dashed else "-o", color=colour, lw=2, ms=6, label=name)
    ranks = sorted({r for values in lines.values() for r in values})
    axes.set_xscale("log")
    axes.set_xticks(ranks, [str(r) for r in ranks])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.margins(y=0.12)
    axes.annotate("full fine-tuning", (ranks[0], 1), (0, 4), textcoords="offset points", fontsize=9)
    axes.set(xlabel="rank r (log scale)", ylabel="recovery", title=title)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def budget_dots(runs: Mapping[str, Tuned], equal: Sequence[str], larger: Sequence[str] = ()) -> Figure:
    """Test loss of every way to spend a budget, a dot for each seed and a bar at their mean, in the order given.

    Args:
        runs: those of `tuned_runs`.
        equal: the names of those with one budget.
        larger: the names of those with more parameters, drawn apart.
    """
    places = {name: place for place, name in enumerate(equal)} | {
        name: len(equal) + 0.5 + place for place, name in enumerate(larger)
    }
    figure, axes = new_figure(7.8, 0.5 * len(places) + 1.3)
    for name, place in places.items():
        losses = runs[name].losses
        axes.plot(losses, [place] * len(losses), "o", color=BLUE, ms=6, alpha=0.7)
        axes.plot([fmean(losses)], [place], "|", color="black", ms=16, mew=2)
    if larger:
        axes.axhline(len(equal) - 0.25, color=GREY, lw=0.8)
    full = fmean(runs["full fine-tuning"].losses)
    axes.axvline(full, color=VERMILION, linestyle="--", lw=1.2)
    axes.annotate("full fine-tuning", (full, 0), xycoords=("data", "axes fraction"), xytext=(4, 5), color=VERMILION,
                  textcoords="offset points", fontsize=9)  # fmt: skip
    labels = [f"{name}\n{runs[name].parameters:,} parameters" for name in places]
    axes.set_yticks(list(places.values()), labels)
    axes.margins(y=0.15)
    axes.invert_yaxis()
    title = "The MLP alone is ahead, attention alone is behind"
    axes.set(xlabel="test loss (nats per answer token)", title=title)
    return figure


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


def forgetting(methods: Mapping[str, Mapping[str, Any]], title: str) -> Figure:
    """What a method loses on Python source over what it gains on answers, along its learning rates up to the best.

    Args:
        methods: of the stored result "rank_and_alpha/forgetting": the best rate and the runs of every method. Marks
            are means over seeds, the larger the higher the rate.
        title: what to see.
    """
    figure, axes = new_figure(7.6, 3.8)
    for name, found in methods.items():
        colour, marker = LOOKS[name]
        rates = sorted({run["lr"] for run in found["runs"] if run["lr"] <= found["best"]})
        runs = [[run for run in found["runs"] if run["lr"] == lr] for lr in rates]
        gains, lost = ([fmean(run[key] for run in group) for group in runs] for key in ("gain", "source"))
        axes.plot(gains, lost, "-", color=colour, lw=1.4, label=name)
        for gain, loss, size in zip(gains, lost, (3, 6, 9)):
            axes.plot([gain], [loss], marker, color=colour, ms=size)
        left = name == "r = 16"  # full fine-tuning's best is on its right
        axes.annotate(name, (gains[-1], lost[-1]), xytext=(-9 if left else 9, -4), color=colour,
                      textcoords="offset points", ha="right" if left else "left")  # fmt: skip
    axes.margins(x=0.12, y=0.12)
    axes.set(xlabel="gain: drop in test loss on answers (nats per token)",
             ylabel="forgetting: increase in loss\non Python source (nats per token)", title=title)  # fmt: skip
    return figure
