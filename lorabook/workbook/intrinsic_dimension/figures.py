"""The figures of notebook 05: what a model learns in d directions."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from lorabook.workbook.kit.figures import BLUE, GREEN, ORANGE, VERMILION, new_figure, new_panes

LOOKS = {
    "0": (VERMILION, "o"),
    "2": (GREEN, "s"),
    "10": (ORANGE, "^"),
    "100": (BLUE, "D"),
}  # by percent of pre-training
DIRECT = 16  # times D: where direct training stands
HEAD = 514  # parameters of the new layer: a weight of 2 × 256, and 2 biases


def digits(accuracy: Mapping[int, float], target: float, d90: float, title: str) -> Figure:
    """Test accuracy over d, with a line at the target and one where the curve meets it.

    Args:
        accuracy: by d, the largest of which is D.
        target: the accuracy that is 90% of the way from guessing to d = D.
        d90: where the curve reaches it.
        title: what to see.
    """
    figure, axes = new_figure(6.4, 3.2)
    axes.plot(list(accuracy), list(accuracy.values()), "o-", color=BLUE, lw=2)
    axes.axhline(target, color=ORANGE, lw=1.5, ls="--")
    axes.annotate(f"90% of the way: {target:.2f}", (max(accuracy), target), (-2, -14), textcoords="offset points",
                  ha="right", color=ORANGE)  # fmt: skip
    axes.plot([d90, d90], [0, target], color=ORANGE, lw=1.5, ls="--")
    axes.annotate("d90", (d90, 0), (5, 6), textcoords="offset points", color=ORANGE)
    axes.axhline(0.1, color="black", lw=0.8, ls="--")
    axes.annotate("guessing", (min(accuracy), 0.1), (0, 4), textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    *some, D = accuracy
    axes.set_xticks([*some, D], [*(f"{d:,}" for d in some), f"D = {D:,}"])
    axes.minorticks_off()
    axes.set(xlabel="directions d (log scale)", ylabel="test accuracy", ylim=(0, 1.03), title=title)
    return figure


def predictions(images: Tensor, predicted: Tensor, labels: Tensor) -> Figure:
    """Images of 8 × 8 pixels in a row, and below each what it was taken for; if that is wrong, what it is."""
    figure, row = new_panes(8.0, 1.15, len(images))
    for axes, image, found, label in zip(row, images, predicted.tolist(), labels.tolist()):
        axes.imshow(image.view(8, 8).numpy(), cmap="gray_r")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        if found == label:
            axes.set_xlabel(str(found), fontsize=12)
        else:
            axes.set_xlabel(f"{found}\n(is {label})", fontsize=10, color=VERMILION)
    return figure


def accuracy_over_d(found: Mapping[str, Any]) -> Figure:
    """Test accuracy over d for every checkpoint, up to d = D.

    Of those with controls, the first and the last, also single seeds, all parameters trained without a projection (far
    right, a star), and the new layer alone (hollow). A dashed line goes through the star of the first.

    Args:
        found: the stored result "intrinsic_dimension/pretraining".
    """
    figure, axes = new_figure(8.2, 4.4)
    D = found["D"]
    for share, checkpoint in reversed(found["checkpoints"].items()):  # the highest curve first, as in the legend
        colour, marker = LOOKS[share]
        dimensions = [point["d"] for point in checkpoint["points"]]
        means = [fmean(point["test"]) for point in checkpoint["points"]]
        plain = share not in found["head"]
        width, size = (1, 3) if plain else (2, 6)
        axes.plot(dimensions, means, marker + "-", color=colour, lw=width, ms=size, label=f"{share}%")
        if plain:
            continue
        for point in checkpoint["points"]:
            axes.plot([point["d"]] * len(point["test"]), point["test"], ".", color=colour, ms=4, alpha=0.7)
        direct, alone = fmean(checkpoint["full"]["test"]), fmean(found["head"][share]["test"])
        axes.plot([DIRECT * D], [direct], "*", color=colour, ms=11)
        axes.plot([HEAD], [alone], marker, color=colour, mfc="none", ms=9, mew=2)
        told = {(DIRECT * D, direct): (9, -4), (HEAD, alone): (9, -4)}
        if share == "100":
            at_300 = (300, means[dimensions.index(300)])
            told |= {(HEAD, alone): (-10, 9), at_300: (5, -14)}  # not over its own curve
        for (x, value), shift in told.items():
            axes.annotate(f"{value:.2f}", (x, value), shift, color=colour, textcoords="offset points")
    axes.axhline(fmean(found["checkpoints"]["0"]["full"]["test"]), color=LOOKS["0"][0], lw=0.8, ls="--", zorder=0)
    axes.plot([], [], "*", color="black", ms=11, label="all parameters")
    axes.plot([], [], "o", color="black", mfc="none", ms=9, mew=2, label="new layer alone")
    axes.axhline(0.5, color="black", lw=0.8, ls="--")
    axes.annotate("guessing", (30, 0.5), xytext=(0, 4), textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    ticks = [point["d"] for point in found["checkpoints"]["100"]["points"]]
    names = [*(f"{d:,}" for d in ticks[:-1]), f"d = D,\n{D / 1e6:.1f} million", "no P"]
    axes.set_xticks([*ticks, DIRECT * D], names)
    axes.minorticks_off()
    axes.set(xlabel="directions d, or trained parameters (log scale)", ylabel="test accuracy",
             title="The longer the pre-training, the higher the accuracy at every d")  # fmt: skip
    axes.legend(frameon=False, title="pre-training", loc="lower right", bbox_to_anchor=(0.97, 0.06))
    return figure
