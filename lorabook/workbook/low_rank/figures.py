"""The figures of notebook 04: a picture of little rank, and what parts of an update recover."""

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lorabook.workbook.kit.figures import BLUE, GREY, ORANGE, VERMILION, new_figure

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


# A part's fraction of ΔW's energy, its recovery, and those of a random piece of ΔW and of ΔW scaled, of that energy.
Compared = tuple[float, float, float, float]


def recovery_by_energy(
    line: Mapping[float, float], first: Mapping[int, Compared], rest: Mapping[int, Compared], title: str
) -> Figure:
    """What parts of ΔW recover, beside ΔW scaled down and random pieces of it, over their energy.

    Args:
        line: the recovery of c ΔW, by c, which has the fraction c² of ΔW's energy; all from 0 to 1.
        first: the first r terms, by r.
        rest: all but the first r terms.
        title: what to see.
    """
    figure, axes = new_figure(7.0, 4.2)
    compared = [*first.values(), *rest.values()]
    ends = {c: found for c, found in line.items() if c in (0, 1)}
    scaled = {c**2: found for c, found in line.items()} | {share: dose for share, _, _, dose in compared}
    random = ends | {share: piece for share, _, piece, _ in compared}
    for name, controls, look in (
        ("a smaller dose of ΔW", scaled, {"marker": "o", "color": GREY, "lw": 2.5, "ms": 4}),
        ("a random piece of ΔW", random, {"marker": "x", "color": BLUE, "lw": 1.2, "ls": ":"}),
    ):
        energies, found = zip(*sorted(controls.items()))
        axes.plot([100 * e for e in energies], [100 * value for value in found], label=name, **look)
    for name, parts, colour, marker, place in (
        ("first r terms", first, ORANGE, "^", (8, -10)),
        ("all but the first r", rest, VERMILION, "v", (9, -8)),
    ):
        for r, (share, value, _, _) in parts.items():
            axes.annotate(f"r = {r}", (100 * share, 100 * value), place, textcoords="offset points", color=colour,
                          fontsize=9)  # fmt: skip
        points = [(100 * share, 100 * value) for share, value, _, _ in sorted(parts.values())]
        axes.plot(*zip(*points), "--", marker=marker, color=colour, lw=1.2, ms=9, label=name)
    axes.set(xlabel="energy (% of ΔW's)", ylabel="recovery (%)", xlim=(0, 102), ylim=(0, 108), title=title)
    axes.legend(frameon=False, loc="lower right")
    return figure
