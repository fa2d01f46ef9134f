"""The figures of notebook 03: rates, budgets, the gain over trained numbers, forgetting, time, subspaces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from lorabook.workbook.kit.figures import (
    BLUE,
    DARK_VERMILION,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    label_bar,
    new_figure,
    new_panes,
)

LOOKS = ((SKY, "v"), (GREEN, "s"), (BLUE, "o"), (ORANGE, "^"), (VERMILION, "D"))  # of ranks, in growing order
# What can be trained, in one colour and shape throughout.
METHODS = {
    "random subspace": (GREY, "o"),
    "LoRA": (BLUE, "o"),
    "LoRA and embeddings": (PURPLE, "P"),
    "bottleneck adapters": (ORANGE, "s"),
    "full, embeddings": (GREEN, "v"),
    "full, linear layers": (SKY, "^"),
    "full, everything": (VERMILION, "D"),
}


def rate_curves(
    panels: Mapping[str, Mapping[str, Mapping[float, float]]], level: tuple[str, float], top: float, title: str
) -> Figure:
    """Loss over the learning rate, one panel a scaling, one curve a rank, the best rate of each filled.

    Args:
        panels: by panel, by curve, held-out loss by learning rate.
        level: name and loss of a line across all panels.
        top: where the loss axis ends; a curve may leave it.
        title: what to see.
    """
    figure, panes = new_panes(9.6, 3.7, len(panels), sharex=True, sharey=True)
    rates = sorted({lr for curves in panels.values() for losses in curves.values() for lr in losses})
    for axes, (name, curves) in zip(panes, panels.items()):
        for (label, losses), (colour, marker) in zip(curves.items(), LOOKS):
            best = min(losses, key=lambda lr: losses[lr])
            axes.plot(list(losses), list(losses.values()), marker + "-", color=colour, ms=5, mfc="white", label=label)
            axes.plot([best], [losses[best]], marker, color=colour, ms=7)
        axes.axhline(level[1], color="black", lw=1)
        axes.set_xscale("log")
        axes.set_xticks(rates[::2], [f"{lr:g}" for lr in rates[::2]])
        axes.minorticks_off()
        axes.set_xlabel("peak learning rate")
        axes.set_title(name, fontsize=10)
    left = panes[0]
    left.annotate(level[0], (1, level[1]), xycoords=("axes fraction", "data"), xytext=(0, -11), ha="right",
                  textcoords="offset points", fontsize=9)  # fmt: skip
    left.set_ylim(level[1] - 0.12 * (top - level[1]), top)
    left.set_ylabel("held-out loss (nats per answer token)")
    left.legend(frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=11.5)
    return figure


def budget_dots(losses: Mapping[str, Sequence[float]], level: tuple[str, float], title: str) -> Figure:
    """Held-out loss of every way to spend a budget, a dot a seed and a bar at their mean, in the order given."""
    figure, axes = new_figure(7.4, 0.34 * len(losses) + 1.3)
    for place, values in enumerate(losses.values()):
        axes.plot(values, [place] * len(values), "o", color=BLUE, ms=6, alpha=0.7)
        axes.plot([sum(values) / len(values)], [place], "|", color="black", ms=16, mew=2)
    axes.axvline(level[1], color=VERMILION, linestyle="--", lw=1.2)
    axes.annotate(level[0], (level[1], 0), xycoords=("data", "axes fraction"), xytext=(4, 5), color=DARK_VERMILION,
                  textcoords="offset points", fontsize=9)  # fmt: skip
    axes.set_yticks(range(len(losses)), list(losses))
    axes.invert_yaxis()
    axes.set(xlabel="held-out loss (nats per answer token)", title=title)
    return figure


@dataclass(frozen=True)
class Series:
    """Points of one method: trained numbers, and the share of full fine-tuning's gain, one value for each seed."""

    numbers: tuple[int, ...]
    shares: tuple[tuple[float, ...], ...]
    names: tuple[str, ...] = ()

    @property
    def means(self) -> list[float]:
        return [sum(values) / len(values) for values in self.shares]


def gain_over_numbers(series: Mapping[str, Series], title: str) -> Figure:
    """The share of full fine-tuning's gain over how many numbers are trained, by method of METHODS, a dot a seed."""
    figure, axes = new_figure(8.2, 4.6)
    axes.axhline(1, color="black", lw=1)
    for method, points in series.items():
        colour, marker = METHODS[method]
        line = "-" if len(points.numbers) > 1 else ""
        axes.plot(points.numbers, points.means, line + marker, color=colour, lw=1.8, ms=7, label=method)
        for number, values in zip(points.numbers, points.shares):
            axes.plot([number] * len(values), values, ".", color=colour, ms=5, alpha=0.7)
        for number, mean, name in zip(points.numbers, points.means, points.names):
            axes.annotate(name, (number, mean), xytext=(0, 7), textcoords="offset points", fontsize=8.5, color=colour,
                          ha="center")  # fmt: skip
    axes.set_xscale("log")
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.set_ylim(0, 1.12)
    axes.set(xlabel="numbers trained", ylabel="share of full fine-tuning's fall in held-out loss", title=title)
    axes.legend(frameon=False, fontsize=9)
    return figure


def forgetting_over_gain(
    points: Mapping[str, Sequence[tuple[float, float]]], title: str, joined: bool = False
) -> Figure:
    """What a run added to the loss on Python source over what it took off the answers' loss, by method of METHODS.

    Args:
        points: by method, (gain, forgetting) in nats; `joined` connects them, for checkpoints of one run.
        title: what to see.
    """
    figure, axes = new_figure(7.4, 4.0)
    for method, pairs in points.items():
        colour, marker = METHODS[method]
        gains, forgotten = zip(*pairs)
        axes.plot(gains, forgotten, marker + ("-" if joined else ""), color=colour, ms=6, mfc="white", label=method)
    axes.set(xlabel="gain: fall in the answers' held-out loss (nats per token)",
             ylabel="forgetting: rise of the loss\non Python source (nats per token)", title=title)  # fmt: skip
    axes.axhline(0, color=GREY, lw=0.8)
    axes.legend(frameon=False, fontsize=9)
    return figure


def step_times(times: Mapping[str, Mapping[str, float]], arithmetic: Mapping[str, float], title: str) -> Figure:
    """Time of a step as a multiple of full fine-tuning's, a group a model, and what counting operations predicts.

    Args:
        times: by model, by method, the ratio to full fine-tuning.
        arithmetic: by method, the ratio that the number of operations gives.
        title: what to see.
    """
    figure, axes = new_figure(7.4, 3.4)
    axes.set_ylim(0, 1.25 * max(max(r.values()) for r in times.values()))
    width = 0.8 / len(arithmetic)
    for group, ratios in enumerate(times.values()):
        for i, ((method, ratio), (colour, _)) in enumerate(zip(ratios.items(), ((GREY, ""), (BLUE, ""), (ORANGE, "")))):
            place = group + (i - (len(ratios) - 1) / 2) * width
            axes.bar(place, ratio, 0.9 * width, color=colour, label=method if group == 0 else None)
            level = arithmetic[method]
            label_bar(axes, place, ratio, level)
            name = "by counting operations" if group == i == 0 else None
            axes.plot([place - width / 2, place + width / 2], [level, level], color="black", lw=2, label=name)
    axes.set_xticks(range(len(times)), list(times))
    axes.set(ylabel="time of a step ÷ full fine-tuning's", title=title)
    axes.legend(frameon=False, fontsize=9, ncols=len(arithmetic) + 1, loc="upper left")
    return figure


def similarity_maps(maps: Mapping[str, Tensor], title: str) -> Figure:
    """φ(i, j) between pairs of updates, entry (i - 1, j - 1) of a matrix, as heat maps side by side."""
    figure = Figure(figsize=(8.4, 2.9), layout="constrained", facecolor="white")
    panes = figure.subplots(1, len(maps), sharey=True)
    for axes, (name, values) in zip(panes, maps.items()):
        rows, columns = values.shape
        axes.imshow(values.numpy(), cmap="viridis", vmin=0, vmax=1, aspect="auto", origin="lower",
                    extent=(0.5, columns + 0.5, 0.5, rows + 0.5))  # fmt: skip
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("j: directions of the larger rank")
    panes[0].set_ylabel("i: directions\nof the smaller rank")
    figure.colorbar(panes[0].images[0], ax=panes, label="φ(i, j)")
    figure.suptitle(title, fontsize=11.5)
    return figure
