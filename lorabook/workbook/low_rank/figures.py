"""The figures of notebook 04: a picture of little rank, and recovery by terms and by rank."""

from collections.abc import Mapping
from statistics import fmean

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from lorabook.workbook.kit.figures import BLUE, GREEN, GREY, ORANGE, new_figure

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
    """Matrices of grey values side by side, from 0 (black) to 1 (white), or from -0.5 if some are negative.

    Above each: its name, and its share of the first one's energy.
    """
    figure = Figure(figsize=(1.75 * len(images), 1.75), layout="constrained")
    energies = {name: image.square().sum().item() for name, image in images.items()}
    whole = next(iter(energies.values()))
    for axes, (name, image) in zip(figure.subplots(1, len(images), squeeze=False)[0], images.items()):
        black = -0.5 if image.min() < -0.1 else 0.0  # a difference: grey is zero
        axes.imshow(image.numpy(), cmap="gray", vmin=black, vmax=black + 1)
        axes.set_title(f"{name}: {energies[name] / whole:.0%}", fontsize=9)
        axes.set_axis_off()
    figure.suptitle(title, fontsize=11)
    return figure


def by_terms(curves: Mapping[str, Mapping[int, float]], title: str) -> Figure:
    """Two fractions over the number of terms that are kept.

    Args:
        curves: by the quantity's name and the number of terms, the fraction; the name is written beside the second one.
        title: what to see.
    """
    figure, axes = new_figure(7.6, 3.2)
    counts: list[int] = []
    for (name, points), colour in zip(curves.items(), (ORANGE, GREY)):
        counts = list(points)
        axes.plot(range(len(points)), list(points.values()), "o-", color=colour, lw=2, ms=5)
        for x, fraction in enumerate(list(points.values())[:-1]):
            text = f"{name} {fraction:.0%}" if x == 1 else f"{fraction:.0%}"
            axes.annotate(text, (x, fraction), (5, -4), textcoords="offset points", va="top", color=colour)
    axes.set(xlabel="terms kept, r", title=title, ylim=(0, 1.08))
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    return figure


COLOURS = {  # of `recovery.NAMES`
    "LoRA": BLUE,
    "first r terms": ORANGE,
    "the other terms": GREEN,
}


def recovery_by_rank(found: Mapping[str, Mapping[int, list[float]]], title: str) -> Figure:
    """Recovery by rank: a bar for each update, up to the mean of its runs, with a dot for each run.

    Args:
        found: what `recovery.recovered` returns.
        title: what to see.
    """
    figure, axes = new_figure(7.6, 3.8)
    ranks = list(next(iter(found.values())))
    for i, (update, by_rank) in enumerate(found.items()):
        for place, r in enumerate(ranks):
            x, mean = place + 0.27 * (i - 1), fmean(by_rank[r])
            label = update if place == 0 else None
            axes.bar(x, mean, 0.25, color=COLOURS[update], alpha=0.75, label=label)
            axes.plot([x] * len(by_rank[r]), by_rank[r], ".", color="black", ms=4)
            top = max(by_rank[r])
            above = max(top, 1) if top > 0.9 else top  # the line at 100% crosses no number
            axes.text(x, above + 0.035, f"{mean:.0%}", ha="center", fontsize=9)
    axes.axhline(1, color=GREY, lw=0.8, zorder=0)
    axes.set(ylabel="recovery (100%: full fine-tuning)", title=title, ylim=(0, 1.15))
    axes.set_xticks(range(len(ranks)), [f"r = {r}" for r in ranks])
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.1), ncols=3, frameon=False)
    return figure
