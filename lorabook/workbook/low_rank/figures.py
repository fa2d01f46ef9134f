"""The figures of notebook 04: a picture of little rank, and what LoRA and parts of an update recover."""

from collections.abc import Mapping
from statistics import fmean

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from lorabook.workbook.kit.figures import BLUE, GREEN, GREY, ORANGE, new_panes

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


def recovery_by_rank(models: Mapping[str, Mapping[str, Mapping[int, list[float]]]], title: str) -> Figure:
    """Recovery over the rank, a pane for each model: LoRA, the first r terms of ΔW, and controls of the same energy.

    Args:
        models: by name, what `recovery.recovered` returns. Lines run through the means, a marker is a seed.
        title: what to see.
    """
    figure, panes = new_panes(8.6, 3.8, len(models), sharey=True)
    for axes, (model, found) in zip(panes, models.items()):
        axes.axhline(1, color="black", lw=0.8)
        for update, name, look in (
            ("LoRA", "LoRA, trained", {"color": BLUE, "marker": "o", "lw": 2}),
            ("truncated", "first r terms of ΔW", {"color": ORANGE, "marker": "^", "lw": 2}),
            ("scaled", "same energy: ΔW scaled down", {"color": GREY, "marker": "s", "lw": 1.4, "ls": "--"}),
            ("random", "same energy: random entries", {"color": GREEN, "marker": "v", "lw": 1.4, "ls": ":"}),
        ):
            seeds = {r: found[update][r] for r in (1, 4, 16)}
            axes.plot(list(seeds), [fmean(values) for values in seeds.values()], **(look | {"marker": None}))
            for r, values in seeds.items():
                axes.plot([r] * len(values), values, look["marker"], color=look["color"], ms=5)
            axes.plot([], [], label=name, ms=5, **look)
        axes.set(xscale="log", xlabel="rank r (log scale)", xlim=(0.85, 19))
        axes.set_xticks([1, 4, 16], ["1", "4", "16"])
        axes.minorticks_off()
        axes.set_title(model, fontsize=10)
    panes[0].text(0.9, 1.015, "full fine-tuning", fontsize=9)
    panes[0].yaxis.set_major_formatter(PercentFormatter(1, 0))
    panes[0].set(ylabel="recovery", ylim=(0, 1.12))
    panes[-1].legend(frameon=False, loc="lower right", fontsize=9)
    figure.suptitle(title, fontsize=11.5)
    return figure
