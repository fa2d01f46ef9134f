"""The figures of notebook 04: a picture of little rank, singular values, energy and loss over the rank, and a floor."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lorabook.workbook.kit.figures import BLUE, GREEN, GREY, ORANGE, VERMILION, new_figure

HEIGHT, WIDTH = 160, 240  # pixels of the picture
COLOURS = (BLUE, VERMILION, GREEN, ORANGE)
STYLES = ("-", "--", "-.", ":")
Pair = tuple[Sequence[float], Sequence[float]]


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
    figure = Figure(figsize=(2.15 * len(images), 1.95), layout="constrained", facecolor="white")
    for axes, (name, image) in zip(figure.subplots(1, len(images), squeeze=False)[0], images.items()):
        axes.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_title(name, fontsize=9)
        axes.set_axis_off()
    figure.suptitle(title, fontsize=11)
    return figure


def singular_values(spectra: Mapping[str, Tensor], title: str, mark: int | None = None, floor: float = 1e-8) -> Figure:
    """Singular values of up to four matrices over their place, each as a share of its matrix's Frobenius norm.

    Args:
        spectra: all singular values of each matrix, largest first, by its name.
        title: what to see.
        mark: a place to mark by a vertical line.
        floor: the lower end of the logarithmic axis; smaller values lie on it.
    """
    figure, axes = new_figure(7.4, 3.5)
    for (name, values), colour, style in zip(spectra.items(), COLOURS, STYLES):
        shares = values.double() / values.double().square().sum().sqrt()
        axes.plot(range(1, len(shares) + 1), shares.clamp(min=floor).tolist(), style, color=colour, lw=2, label=name)
    if mark is not None:
        axes.axvline(mark, color=GREY, lw=1)
        axes.annotate(f"{mark}", (mark, 0.02), xycoords=("data", "axes fraction"), xytext=(4, 0),
                      textcoords="offset points", fontsize=9, color="#555555")  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7 * floor)
    axes.set(xlabel="place i", ylabel="σᵢ / Frobenius norm", title=title)
    axes.legend(frameon=False, fontsize=9)
    return figure


def energy_panels(
    panels: Mapping[str, Mapping[str, Sequence[Sequence[float]]]], ranks: Sequence[int], title: str
) -> Figure:
    """The share of energy kept over the rank: a panel a kind of matrix, a colour a series, a line a matrix.

    Args:
        panels: by the panel's name, by the series' name, for each matrix the shares at `ranks`; at most three series.
        ranks: above zero; the axis is logarithmic.
        title: what to see.
    """
    columns = 3
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(8.4, 2.3 * rows + 0.5), layout="constrained", facecolor="white")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
    for axes, (panel, series) in zip(grid, panels.items()):
        for (name, matrices), colour, style in zip(series.items(), (BLUE, GREY, "black"), ("-", "-", ":")):
            for shares in matrices:
                axes.plot(ranks, shares, style, color=colour, lw=1.5)
            axes.plot([], [], style, color=colour, label=name)
        axes.set_title(panel, fontsize=10)
        _rank_axis(axes, ranks)
    grid[0].legend(frameon=False, fontsize=8, loc="upper left")
    for axes in list(grid)[len(panels) :]:
        axes.set_axis_off()
    figure.supxlabel("rank r (logarithmic)", fontsize=10)
    figure.supylabel("share of ‖M‖² kept", fontsize=10)
    figure.suptitle(title, fontsize=11)
    return figure


def energy_and_loss(
    ranks: Sequence[int],
    loss: Mapping[str, Sequence[Sequence[float]]],
    energy: Mapping[str, Sequence[Sequence[float]]],
    title: str,
) -> Figure:
    """Both shares over the rank on one axis: what the cut update brings of the loss, and what it keeps of the energy.

    Args:
        ranks: evenly spaced on the axis whatever their size, so that 0 has a place.
        loss: by name, for each run the share of loss brought back at `ranks`. The line is the mean, a dot each run.
        energy: by name, for each matrix the share of energy kept at `ranks`. The line is the mean; around the first
            a band reaches from the least to the greatest.
        title: what to see.
    """
    figure, axes = new_figure(8.0, 4.2)
    places = range(len(ranks))
    for (name, runs), colour, style in zip(loss.items(), (VERMILION, ORANGE), ("-", "--")):
        values = torch.tensor(runs)
        axes.plot(places, values.mean(0).tolist(), style, color=colour, lw=2.2, label=f"loss: {name}")
        for run in runs:
            axes.plot(places, run, "o", color=colour, ms=3.5)
    for (name, matrices), colour, style in zip(energy.items(), (BLUE, GREY, "black"), ("-", "-", ":")):
        axes.plot(places, torch.tensor(matrices).mean(0).tolist(), style, color=colour, lw=1.6, label=f"energy: {name}")
    values = torch.tensor(next(iter(energy.values())))
    axes.fill_between(places, values.amin(0).tolist(), values.amax(0).tolist(), color=BLUE, alpha=0.18, lw=0)
    axes.axhline(0.9, color="#bbbbbb", lw=0.8, zorder=0)
    axes.annotate("90%", (0, 0.9), xytext=(-2, 2), textcoords="offset points", fontsize=9, color="#666666")
    axes.set_xticks(places, [str(r) for r in ranks])
    axes.set_ylim(-0.03, 1.05)
    axes.set(xlabel="rank r that the update is cut to", ylabel="share", title=title)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def teacher_floor(floors: Pair, reached: Pair, title: str) -> Figure:
    """The error of LoRA over its rank, beside the least error that a matrix of that rank can have.

    Args:
        floors, reached: ranks and errors, in units of the planted update's squared Frobenius norm.
        title: what to see.
    """
    figure, axes = new_figure(6.6, 3.4)
    axes.step(*floors, where="mid", color=GREY, lw=2, label="Eckart–Young: σ² left out")
    axes.plot(*reached, "o", color=BLUE, ms=7, label="LoRA, trained")
    axes.set_xticks(list(floors[0]))
    axes.set_ylim(bottom=-0.02)
    axes.set(xlabel="rank r", ylabel="loss / loss without an update", title=title)
    axes.legend(frameon=False)
    return figure


def _rank_axis(axes: Axes, ranks: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlim(ranks[0], ranks[-1])
    axes.set_ylim(0, 1.02)
    ticks = [r for r in ranks if r in (1, 4, 16, 64, 256)]
    axes.set_xticks(ticks, [str(r) for r in ticks])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
