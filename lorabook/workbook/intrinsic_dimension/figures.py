"""The figures of notebook 05: loss on few pairs, a toy whose dimension is known, and what is recovered over d."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lorabook.workbook.intrinsic_dimension.measure import Curve
from lorabook.workbook.kit.figures import BLUE, DARK_VERMILION, GREEN, GREY, ORANGE, VERMILION, new_figure, new_panes

COLOURS, STYLES = (VERMILION, ORANGE, BLUE, GREEN), ("o-", "s-", "^-", "D-")
RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
LEAST = 1e-14  # a loss below it is drawn there: what is left of zero is rounding


def pair_losses(runs: Mapping[int, Sequence[Sequence[float]]], title: str) -> Figure:
    """Held-out loss (left) and training loss (right) over steps, a line for each number of pairs.

    Args:
        runs: by the number of pairs, points of (step, training loss, held-out loss).
        title: what to see.
    """
    figure, (held, train) = new_panes(8.2, 3.5)
    for (pairs, points), colour, style in zip(runs.items(), COLOURS, STYLES):
        steps, training, losses = zip(*points)
        for axes, values in ((held, losses), (train, training)):
            axes.plot(steps, values, style, color=colour, ms=4, label=f"{pairs} pairs")
    for axes, name in ((held, "held-out answers"), (train, "20 of the answers trained on")):
        axes.set(xlabel="optimizer step", ylabel="loss (nats per answer token)")
        axes.set_title(name, fontsize=10)
    held.axhline(next(iter(runs.values()))[0][2], color=GREY, linestyle="--", lw=1, label="before training")
    held.legend(frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=11.5)
    return figure


def toy_losses(losses: Mapping[int, Sequence[float]], known: int, title: str) -> Figure:
    """The least loss in the subspace over its dimension, a dot for each random P; the known dimension is marked.

    Args:
        losses: by d, one least loss for each P.
        known: the dimension at which zero can be reached.
        title: what to see.
    """
    figure, axes = new_figure(6.6, 3.3)
    for d, values in losses.items():
        axes.plot([d] * len(values), [max(value, LEAST) for value in values], "o", color=BLUE, ms=5, alpha=0.6)
    axes.axvline(known, color=VERMILION, linestyle="--", lw=1.2)
    axes.set_yscale("log")
    axes.set_xticks(list(losses))
    axes.annotate(f"{known} sums asked for", (known, 1), xycoords=("data", "axes fraction"), xytext=(4, -10),
                  textcoords="offset points", color=DARK_VERMILION, fontsize=9)  # fmt: skip
    axes.set(xlabel="dimension d of the subspace", ylabel="least loss (at the bottom 1e-14 or less)", title=title)
    return figure


def score_curve(curve: Curve, score: str, title: str) -> Figure:
    """Scores over d: the mean over seeds as a line, a dot each seed, full training, and the line that counts as 90%."""
    figure, axes = new_figure(6.8, 3.5)
    dimensions = [p.d for p in curve.points]
    axes.plot(dimensions, [p.mean for p in curve.points], "-", color=BLUE, lw=2, label="subspace, mean over seeds")
    for p in curve.points:
        axes.plot([p.d] * len(p.scores), p.scores, "o", color=BLUE, ms=4, alpha=0.6)
    axes.axhline(curve.full, color="black", lw=1.2, label="every parameter")
    axes.axhline(curve.start + curve.line * (curve.full - curve.start), color=VERMILION, linestyle="--", lw=1.2,
                 label=f"{curve.line:.0%} of it")  # fmt: skip
    _mark(axes, curve)
    axes.set_xscale("log")
    axes.set(xlabel="dimension d of the subspace", ylabel=score, title=title)
    axes.legend(frameon=False, fontsize=9, loc=(0.02, 0.52))
    return figure


def share_curve(curve: Curve, title: str) -> Figure:
    """The share of full training's gain recovered over d, with the 90% line."""
    figure, axes = new_figure(7.2, 3.7)
    draw_shares(axes, curve)
    axes.set_title(title)
    return figure


def draw_shares(axes: Axes, curve: Curve, seed: int | None = None) -> None:
    """Shares over d on `axes`: the mean over seeds, a dot each seed; with `seed`, that seed as the line."""
    dimensions = [p.d for p in curve.points]
    shown = [curve.share(p.mean if seed is None else p.scores[seed]) for p in curve.points]
    axes.axhline(1, color="black", lw=1)
    axes.axhline(curve.line, color=VERMILION, linestyle="--", lw=1.2)
    axes.plot(dimensions, shown, "-", color=BLUE, lw=2)
    for p in curve.points:
        axes.plot([p.d] * len(p.scores), [curve.share(s) for s in p.scores], "o", color=BLUE, ms=4, alpha=0.6)
    _mark(axes, curve)
    powers = range(math.floor(math.log10(dimensions[0])), math.ceil(math.log10(dimensions[-1])) + 1)
    axes.set_xscale("log")
    axes.set_xticks([10**power for power in powers], ["10" + str(power).translate(RAISED) for power in powers])
    axes.minorticks_off()  # searching for ticks would take a third of the time of drawing
    low = min(0.0, *(curve.share(s) for p in curve.points for s in p.scores))
    axes.set_ylim(low - 0.03, 1.1)
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    left = dimensions[0]
    axes.annotate("every parameter", (left, 1), xytext=(0, 3), textcoords="offset points", fontsize=9)
    axes.annotate(f"{curve.line:.0%}", (left, curve.line), xytext=(0, -11), textcoords="offset points", fontsize=9,
                  color=DARK_VERMILION)  # fmt: skip
    axes.set(xlabel="dimension d of the subspace", ylabel="share of full fine-tuning's fall")


def loss_curves(curves: Mapping[str, Curve], title: str) -> Figure:
    """Held-out loss over d in nats, a colour a model: its subspaces, every parameter (solid) and θ0 (dotted)."""
    figure, axes = new_figure(7.2, 4.2)
    left = min(p.d for curve in curves.values() for p in curve.points)
    for (name, curve), colour in zip(curves.items(), (BLUE, VERMILION)):
        dimensions = [p.d for p in curve.points]
        axes.plot(dimensions, [p.mean for p in curve.points], "-", color=colour, lw=2)
        for p in curve.points:
            axes.plot([p.d] * len(p.scores), p.scores, "o", color=colour, ms=4, alpha=0.6)
        for level, style, what, side in ((curve.start, ":", "at θ0", 4), (curve.full, "-", "every parameter", -12)):
            axes.axhline(level, color=colour, linestyle=style, lw=1.2)
            axes.annotate(f"{name}, {what}: {level:.2f}", (left, level), xytext=(0, side), textcoords="offset points",
                          fontsize=9, color=colour)  # fmt: skip
    axes.margins(y=0.09)
    axes.set_xscale("log")
    axes.set(xlabel="dimension d of the subspace", ylabel="held-out loss (nats per answer token)", title=title)
    return figure


def _mark(axes: Axes, curve: Curve) -> None:
    """A vertical line at the curve's d, if it has one."""
    if curve.d is not None:
        axes.axvline(curve.d, color=GREY, lw=1)
        text = f"d{round(100 * curve.line)} = {curve.d:,}"
        side = {"ha": "right", "xytext": (-4, 6)} if _right_half(curve) else {"ha": "left", "xytext": (4, 6)}
        axes.annotate(text, (curve.d, 0), xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=9,
                      **side)  # fmt: skip


def _right_half(curve: Curve) -> bool:
    first, last = curve.points[0].d, curve.points[-1].d
    return math.log(curve.d or first) > (math.log(first) + math.log(last)) / 2
