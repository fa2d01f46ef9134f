"""The figures of notebook 04: a picture of little rank, recovery on the way to ΔW, by energy and by rank."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from lorabook.workbook.kit.figures import BLUE, GREEN, ORANGE, PURPLE, VERMILION, new_figure

HEIGHT, WIDTH = 160, 240  # pixels of the picture


def picture() -> Tensor:
    """A harbour in 160 × 240 grey values between 0 (black) and 1 (white), the same every time.

    Sky, posts and house are rows times columns, which cost a rank or two each; sun, hills, ropes and waves are round
    or slanted and cost many.
    """
    y = torch.arange(HEIGHT, dtype=torch.float32)[:, None]
    x = torch.arange(WIDTH, dtype=torch.float32)[None, :]
    image = 0.55 + 0.4 * y / 100 + 0 * x

    def paint(inside: Tensor, shade: Tensor | float) -> None:
        """Draw where `inside`, a signed distance from the edge in pixels, is positive; the edge is one pixel soft."""
        nonlocal image
        cover = (inside + 0.5).clamp(0, 1)
        image = image * (1 - cover) + cover * shade

    paint(20 - ((x - 186) ** 2 + (y - 34) ** 2).sqrt(), 1.0)
    for peak, height, slope, shade in ((60, 42, 1.3, 0.5), (118, 58, 0.8, 0.42), (214, 66, 0.9, 0.48)):
        paint((y - height - slope * (x - peak).abs()).minimum(101 - y), shade)
    waves = 0.3 + 0.14 * torch.sin(0.45 * (y - 100) + 0.16 * x) * torch.cos(0.05 * x - 0.11 * y)
    paint(y - 100, waves)
    paint((x - 22).minimum(78 - x).minimum(y - 70).minimum(112 - y), 0.85)
    for left in (30, 46, 62):
        paint((x - left).minimum(left + 9 - x).minimum(y - 80).minimum(92 - y), 0.15)
    for post in range(108, 236, 16):
        paint((x - post).minimum(post + 4 - x).minimum(y - 84).minimum(146 - y), 0.08)
    for start in (88, 96):
        paint(1.2 - (y - start - 0.15 * (x - 108)).abs().maximum(108 - x), 0.1)
    return image.clamp(0, 1)


def approximations(images: Mapping[str, Tensor], title: str) -> Figure:
    """Matrices of grey values side by side, all on the scale from 0 (black) to 1 (white), named above each."""
    figure = Figure(figsize=(2.15 * len(images), 1.95), layout="constrained")
    for axes, (name, image) in zip(figure.subplots(1, len(images), squeeze=False)[0], images.items()):
        axes.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_title(name, fontsize=9)
        axes.set_axis_off()
    figure.suptitle(title, fontsize=11)
    return figure


UPDATES: dict[str, dict[str, Any]] = {  # of `recovery.NAMES`: the look of a line
    "LoRA": {"color": BLUE, "marker": "o", "lw": 2.2},
    "first r terms": {"color": ORANGE, "marker": "^", "lw": 1.8},
    "ΔW shrunk": {"color": PURPLE, "marker": "s", "lw": 1.8, "ls": "--"},
    "random entries": {"color": GREEN, "marker": "v", "lw": 1.4, "ls": ":"},
}


def on_the_way(found: Mapping[float, float], title: str) -> Figure:
    """Recovery on the straight line from the old weights to the new ones, with its value halfway.

    Args:
        found: the recovery by the fraction of the way.
        title: what to see.
    """
    figure, axes = new_figure(7.0, 3.2)
    axes.plot(list(found), list(found.values()), "o-", color=PURPLE, lw=2, ms=6)
    axes.plot([0, 1], [0, 1], color="black", lw=0.8, ls=":")
    axes.annotate(f"halfway: {found[0.5]:.0%}", (0.5, found[0.5]), (4, -16), textcoords="offset points", color=PURPLE)
    axes.text(0.52, 0.46, "if every step helped equally")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, 0))
    axes.set(xlabel="fraction of the way from the old weights to the new", ylabel="recovery", title=title)
    return figure


def recovery_by_energy(
    found: Mapping[str, Sequence[tuple[float, float]]],
    ranks: Sequence[int],
    alone: tuple[str, float, float],
    title: str,
) -> Figure:
    """Recovery of updates made from ΔW over their energy, a line for each kind, with its value at the second rank.

    Args:
        found: by keys of UPDATES, the fraction of ΔW's energy and the recovery of each update, the smallest first.
        ranks: r of each of the first terms, written below their energy.
        alone: the name, the energy and the recovery of one more update.
        title: what to see.
    """
    figure, axes = new_figure(7.4, 4.0)
    axes.axhline(1, color="black", lw=0.8)
    for name, points in found.items():
        axes.plot(*zip(*points), ms=6, label=f"{name} (at r = {ranks[1]}: {points[1][1]:.0%})", **UPDATES[name])
    name, x, y = alone
    axes.plot([x], [y], "D", color=VERMILION, ms=7)
    axes.annotate(f"{name}: {y:.0%}", (x, y), (9, -4), textcoords="offset points", color=VERMILION)
    energies = [energy for energy, _ in found["first r terms"]]
    axes.set_xticks(energies, [f"{energy:.0%}\nr = {r}" for energy, r in zip(energies, ranks, strict=True)])
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.set(xlabel="energy, as a fraction of ΔW's", ylabel="recovery", title=title, xlim=(0, 1.02), ylim=(0, 1.1))
    axes.legend(frameon=False, loc="lower right")
    return figure


def recovery_by_rank(
    found: Mapping[str, Mapping[int, list[float]]],
    title: str,
    updates: Sequence[str] = ("LoRA", "first r terms", "ΔW shrunk"),
) -> Figure:
    """Recovery over the rank of one model: LoRA, the first r terms of ΔW, and controls of the same energy.

    Args:
        found: what `recovery.recovered` returns. Lines run through the means, a marker is a seed.
        title: what to see.
        updates: the lines, keys of UPDATES.
    """
    figure, axes = new_figure(8.2, 3.5)
    means = {update: {r: fmean(found[update][r]) for r in (1, 4, 16)} for update in updates}
    bottom = min(min(found[update][1]) for update in updates) - 0.1
    axes.plot([1, 16], [1, 1], color="black", lw=0.8)
    end = 2.0  # height of the name above, beside the right end of a line
    for update in sorted(updates, key=lambda update: -means[update][16]):
        look, by_rank = UPDATES[update], means[update]
        (line,) = axes.plot(list(by_rank), list(by_rank.values()), **look)
        line.set_marker("")  # the markers are the seeds
        for r in by_rank:
            seeds = found[update][r]
            axes.plot([r] * len(seeds), seeds, look["marker"], color=look["color"], ms=5)
        written = {"fontsize": 9, "color": look["color"]}
        axes.text(0.93, by_rank[1], f"{by_rank[1]:.0%}", ha="right", va="center", **written)
        above = [other[4] - by_rank[4] for other in means.values() if other[4] > by_rank[4]]
        if min(above, default=1) > 0.03:  # else the value is that of another line, nearly
            y, va = (-0.03, "top") if min(above, default=1) < 0.12 else (0.025, "bottom")
            axes.text(4, by_rank[4] + y * (1.12 - bottom) / 0.5, f"{by_rank[4]:.0%}", ha="center", va=va, **written)
        end = min(by_rank[16], end - 0.065 * (1.12 - bottom))
        axes.text(17.5, end, f"{by_rank[16]:.0%}  {update}", va="center", **written)
    axes.set(xscale="log", xlabel="rank r (log scale)", ylabel="recovery", xlim=(0.75, 60), ylim=(bottom, 1.12))
    axes.set_xticks([1, 4, 16], ["1", "4", "16"])
    axes.minorticks_off()
    ticks = [tick / 10 for tick in range(2, 10, 2) if tick / 10 > bottom]
    axes.set_yticks([*ticks, 1], [*(f"{tick:.0%}" for tick in ticks), "full fine-\ntuning, 100%"])
    figure.suptitle(title, fontsize=11.5)
    return figure
