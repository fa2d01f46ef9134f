"""The figures of notebook 04: a picture of little rank, energy, and recovery on the way to ΔW and by rank."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from lorabook.workbook.kit.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, new_figure

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
}


def energy_and_recovery(energies: Mapping[int, float], recoveries: Mapping[int, float], title: str) -> Figure:
    """What ΔW's first r terms hold and what they recover, over r, with the values at r = 4.

    Args:
        energies, recoveries: shares by rank.
        title: what to see.
    """
    figure, axes = new_figure(7.0, 3.4)
    for name, shares, colour in (("recovery", recoveries, ORANGE), ("energy", energies, GREY)):
        axes.plot(list(shares), list(shares.values()), "o-", color=colour, lw=2, ms=6)
        said = f"{name}, {shares[4]:.0%} at r = 4"
        axes.annotate(said, (4, shares[4]), (8, -12), textcoords="offset points", color=colour)
    axes.set(xscale="log", xlabel="rank r (log scale)", ylabel="energy and recovery", title=title, ylim=(0, 1.08))
    axes.set_xticks(list(energies), [str(r) for r in energies])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    return figure


def by_size(
    shrunk: Mapping[float, float], sizes: Mapping[str, float], parts: Mapping[str, float], title: str
) -> Figure:
    """Recovery of ΔW shrunk, and of parts of ΔW, over their size: the square root of their share of ΔW's energy.

    Args:
        shrunk: the recovery of ΔW times a number, by that number; the sizes of the parts are among them.
        sizes, parts: the size and the recovery of each part, by name.
        title: what to see.
    """
    figure, axes = new_figure(7.0, 3.4)
    axes.plot(list(shrunk), list(shrunk.values()), "o-", color=PURPLE, lw=2, ms=6)
    for (name, size), colour in zip(sizes.items(), (ORANGE, GREEN)):
        axes.plot(size, parts[name], "^", color=colour, ms=9)
        axes.text(size, parts[name] - 0.1, f"{name}: {parts[name]:.0%}", color=colour, ha="center")
        axes.text(size - 0.02, shrunk[size] + 0.05, f"ΔW shrunk: {shrunk[size]:.0%}", color=PURPLE, ha="right")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, 0))
    axes.set(xlabel="size of the update, compared with ΔW", ylabel="recovery", title=title, ylim=(-0.05, 1.15))
    return figure


def recovery_by_rank(found: Mapping[str, Mapping[int, list[float]]], title: str) -> Figure:
    """Recovery over the rank: LoRA, and the first r terms of ΔW.

    Args:
        found: what `recovery.recovered` returns. Lines run through the means, a marker is a run.
        title: what to see.
    """
    figure, axes = new_figure(7.2, 3.8)
    means = {update: {r: fmean(found[update][r]) for r in (1, 4, 16)} for update in UPDATES}
    axes.plot([0.6, 16], [1, 1], color="black", lw=0.8)
    axes.text(0.62, 1.01, "full fine-tuning", fontsize=9)
    for update, look in UPDATES.items():
        (line,) = axes.plot(list(means[update]), list(means[update].values()), **look)
        line.set_marker("")  # the markers are the runs
        for r in means[update]:
            runs = found[update][r]
            axes.plot([r] * len(runs), runs, look["marker"], color=look["color"], ms=5)
    for r, x, side in ((1, 0.9, "right"), (4, 4.4, "left"), (16, 18, "left")):
        height = 2.0  # of the text above
        for update in sorted(UPDATES, key=lambda update: -means[update][r]):
            beside = {1: 0, 4: 0.025 if update == "LoRA" else -0.025, 16: 0}[r]
            height = min(means[update][r] + beside, height - 0.03)
            text = f"{means[update][r]:.0%}" + (f"  {update}" if r == 16 else "")
            axes.text(x, height, text, ha=side, va="center", fontsize=9, color=UPDATES[update]["color"])
    axes.set(
        xscale="log", xlabel="rank r (log scale)", ylabel="recovery", title=title, xlim=(0.6, 60), ylim=(0.65, 1.1)
    )
    axes.set_xticks([1, 4, 16], ["1", "4", "16"])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    return figure
