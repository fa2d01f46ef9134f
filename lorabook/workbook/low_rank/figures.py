"""The figures of notebook 04: a picture of little rank, and what parts of an update recover."""

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lorabook.workbook.kit.figures import GREY, ORANGE, VERMILION, new_figure

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


def right_triangle(share: float, title: str) -> Figure:
    """ΔW as the sum of the orthogonal parts P and Q, to scale: P's projection onto ΔW is `share` of it.

    Args:
        share: the fraction of ΔW's energy in P, from 0 to 1.
        title: what to see.
    """
    figure, axes = new_figure(6.4, 2.7)
    top = (share, (share - share**2) ** 0.5)
    axes.plot([0, 1], [0, 0], color="black", lw=1.5)
    axes.plot([0, share], [0, 0], color=GREY, lw=5, solid_capstyle="butt")
    axes.plot([share, share], [0, top[1]], ":", color="black", lw=1)
    axes.annotate("", top, (0, 0), arrowprops={"arrowstyle": "->", "color": ORANGE, "lw": 2.2})
    axes.annotate("", (1, 0), top, arrowprops={"arrowstyle": "->", "color": VERMILION, "lw": 2.2})
    for at, name, colour, place in (
        ((share / 2, top[1] / 2), "P", ORANGE, (-10, 6)),
        (((1 + share) / 2, top[1] / 2), "Q", VERMILION, (8, 6)),
        ((share / 2, 0), f"control: {share:.2f} ΔW", "black", (0, -14)),
        (((1 + share) / 2, 0), "ΔW", "black", (0, -14)),
    ):
        axes.annotate(name, at, place, textcoords="offset points", ha="center", color=colour)
    axes.set(xlim=(-0.05, 1.05), ylim=(-0.13, 0.55), aspect="equal", title=title)
    axes.set_axis_off()
    return figure


Compared = tuple[float, float, float]  # how far a part goes along ΔW, its recovery, and that of ΔW scaled as far


def along_the_way(
    line: Mapping[float, float], first: Mapping[int, Compared], rest: Mapping[int, Compared], title: str
) -> Figure:
    """What parts of ΔW recover, beside ΔW scaled to go as far along ΔW.

    Args:
        line: the recovery of c ΔW, by c; all from 0 to 1.
        first: the first r terms, by r.
        rest: all but the first r terms.
        title: what to see.
    """
    figure, axes = new_figure(7.0, 4.2)
    controls = {share: control for share, _, control in [*first.values(), *rest.values()]}
    at, found = zip(*sorted((dict(line) | controls).items()))
    axes.plot([100 * c for c in at], [100 * value for value in found], "-o", color=GREY, lw=2, ms=4,
              label="ΔW scaled down")  # fmt: skip
    for name, parts, colour, marker, place in (
        ("first r terms", first, ORANGE, "^", (-8, 4)),
        ("all but first r terms", rest, VERMILION, "v", (9, -8)),
    ):
        for r, (share, value, control) in parts.items():
            axes.plot([100 * share] * 2, [100 * value, 100 * control], ":", color=colour, lw=1.2)
            axes.annotate(f"r = {r}", (100 * share, 100 * value), place, textcoords="offset points", color=colour,
                          fontsize=9, ha="left" if place[0] > 0 else "right")  # fmt: skip
        points = [(100 * share, 100 * value) for share, value, _ in parts.values()]
        axes.plot(*zip(*points), marker, color=colour, ms=9, label=name)
    axes.set(xlabel="how far along ΔW (%)", ylabel="recovery (%)", xlim=(0, 102), ylim=(0, 108), title=title)
    axes.legend(frameon=False, loc="lower right")
    return figure
