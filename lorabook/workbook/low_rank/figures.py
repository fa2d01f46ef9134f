"""The figures of notebook 04: a picture of little rank, and what parts of an update recover."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lorabook.workbook.kit.figures import BLUE, GREY, ORANGE, VERMILION, new_figure, new_panes

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


def two_parts(energy: float) -> Figure:
    """ΔW as the sum of two orthogonal parts, to scale: the first terms with this share of its energy, and the others.

    Both start at W0. The first part ends `energy` of the way along ΔW, the other one the rest of it; their distances
    from ΔW are equal and on opposite sides, since the parts add up to it.
    """
    figure, axes = new_figure(6.4, 3.6)
    side = (energy * (1 - energy)) ** 0.5
    for end, colour, name, (x, y), ha in (
        ((1, 0), BLUE, "ΔW", (0.88, 0.02), "center"),
        ((energy, side), ORANGE, "first 4 terms", (energy / 2 - 0.02, side / 2 + 0.02), "right"),
        ((1 - energy, -side), VERMILION, "the other 252", ((1 - energy) / 2 - 0.02, -side / 2 - 0.05), "right"),
    ):
        axes.annotate("", end, (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 2})
        axes.text(x, y, name, color=colour, ha=ha)
    for foot, height, colour in ((energy, side, ORANGE), (1 - energy, -side, VERMILION)):
        axes.plot([foot, foot], [0, height], ls="--", color=colour, lw=1.2)
        axes.text(foot + 0.015, height / 2, "sideways", color=colour, va="center")
        axes.text(foot, -0.03 if height > 0 else 0.03, f"{foot:.0%}", color=colour, ha="center",
                  va="top" if height > 0 else "bottom")  # fmt: skip
    axes.text(-0.015, 0, "W0", ha="right", va="center")
    axes.text(1.015, 0, "W0 + ΔW", ha="left", va="center")
    axes.set(xlim=(-0.08, 1.2), ylim=(-side - 0.05, side + 0.05), aspect="equal")
    axes.axis("off")
    return figure


LINE = "ΔW scaled down"
PARTS = {  # of ΔW: colour and marker
    "first terms": (ORANGE, "^"),
    "other terms": (VERMILION, "v"),
    "random entries": (GREY, "D"),
}


def along_the_path(
    line: Mapping[float, float], parts: Mapping[str, Sequence[tuple[float, float]]], title: str
) -> Figure:
    """What t ΔW recovers over t, and what parts of ΔW recover over how far they go along it.

    Args:
        line: {t: recovery}, both from 0 to 1.
        parts: by name of PARTS, pairs of the fraction of the way and the recovery.
        title: what to see.
    """
    figure, axes = new_figure(7.0, 3.8)
    axes.plot([0, *line], [0, *(100 * value for value in line.values())], "o-", color=BLUE, lw=2, ms=4, label=LINE)
    for name, found in parts.items():
        colour, marker = PARTS[name]
        ways, heights = [way for way, _ in found], [100 * value for _, value in found]
        axes.plot(ways, heights, marker, color=colour, ms=9, label=name)
        for at, height in zip(ways, heights):
            shift = (-8, 8) if name == "first terms" else (8, -12)
            axes.annotate(f"{height:.0f}%", (at, height), shift, textcoords="offset points", color=colour,
                          ha="right" if shift[0] < 0 else "left")  # fmt: skip
    axes.set(xlabel="progress along ΔW (fraction of the way from W0 to W0 + ΔW)", ylabel="recovery (%)",
             xlim=(0, 1.02), ylim=(0, 108), title=title)  # fmt: skip
    axes.legend(frameon=False, loc="lower right")
    return figure


def recovered(found: Mapping[str, Any]) -> dict[str, dict[int, list[float]]]:
    """The recovery of every seed, by update and by rank, from one model of the stored result "low_rank/controls"."""
    base, full = found["base"]["test"], found["full"]["runs"]
    whole = fmean(run["test"] for run in full)
    curves = {
        "LoRA": {
            int(r): [(base - run["test"]) / (base - whole) for run in lora["runs"]] for r, lora in found["lora"].items()
        }
    }
    for way in full[0]["losses"]:
        curves[way] = {
            int(r): [(base - run["losses"][way][r]) / (base - run["test"]) for run in full]
            for r in full[0]["losses"][way]
        }
    return curves


def cut_and_lora(found: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    """The recovery of ΔW cut to rank r, and of LoRA trained at rank r: means over the seeds of one model, by rank."""
    curves = recovered(found)
    return {
        label: {r: fmean(values) for r, values in curves[way].items()}
        for label, way in (("cut", "truncated"), ("LoRA", "LoRA"))
    }


def along_the_paths(models: Mapping[str, Mapping[str, Any]], title: str) -> Figure:
    """For each model, what t ΔW recovers over t, and what ΔW's first terms and random entries do over how far they go.

    ΔW scaled to a fraction e of its energy goes the root of e of the way; a part with that energy goes e of the way.

    Args:
        models: the models of the stored result "low_rank/controls", by what stands above their panel.
        title: what to see.
    """
    figure, row = new_panes(10.0, 4.0, len(models), sharey=True)
    for axes, (name, found) in zip(row, models.items()):
        curves, runs = recovered(found), found["full"]["runs"]
        energy = {int(r): fmean(run["energy"][r] for run in runs) for r in runs[0]["energy"]}
        walk = {energy[r] ** 0.5: 100 * fmean(values) for r, values in curves["shrunk"].items()} | {1: 100}
        axes.plot(*zip(*sorted(walk.items())), "-o", color=BLUE, lw=2, ms=4, label=LINE)
        for way, part in (("truncated", "first terms"), ("entries", "random entries")):
            colour, marker = PARTS[part]
            for r, values in curves[way].items():
                label = part if r == 1 else None
                axes.plot(energy[r], 100 * fmean(values), marker, color=colour, ms=9, label=label)
                axes.plot([energy[r]] * len(values), [100 * v for v in values], ".", color=colour, ms=4, alpha=0.7)
                if way == "truncated" and r <= 16:
                    axes.annotate(f"r = {r}", (energy[r], 100 * fmean(values)), (0, 9), textcoords="offset points",
                                  color=colour, ha="center")  # fmt: skip
        axes.set(xlabel="progress along ΔW", xlim=(0, 1.03), ylim=(0, 112), title=name)
    row[0].set(ylabel="recovery (%)")
    row[0].legend(frameon=False, loc="lower right")
    figure.suptitle(title)
    return figure
