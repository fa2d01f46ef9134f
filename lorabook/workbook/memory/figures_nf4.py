"""The figure of 4-bit rounding in notebook 08: where the levels lie, and how far they move real matrices."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from lorabook.workbook.kit.figures import BLUE, GREY, ORANGE


def rounding(scaled: Tensor, sets: dict[str, Tensor], errors: dict[str, Sequence[float]], title: str) -> Figure:
    """Left, how weights are spread and where the levels lie; right, how far each set of levels moves each matrix.

    Args:
        scaled: weights divided by the largest size in their block, from -1 to 1.
        sets: levels (16,) by name, at most two.
        errors: by the same names, the size of the rounding error as a share of each matrix's size.
        title: what to see.
    """
    figure = Figure(figsize=(7.6, 3.0), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    heights, *_ = left.hist(scaled.flatten().numpy(), bins=81, range=(-1, 1), color=GREY, alpha=0.45)
    top = float(heights.max())
    for row, ((name, levels), colour) in enumerate(zip(sets.items(), (BLUE, ORANGE))):
        left.plot(levels, [-(0.09 + 0.11 * row) * top] * len(levels), "|", color=colour, ms=9, mew=1.8, label=name)
        right.plot(range(1, len(errors[name]) + 1), [100 * e for e in errors[name]], "o", color=colour, ms=4.5)
    left.axhline(0, color="#cccccc", lw=0.8)
    left.set(xlabel="weight, divided by its block's scale", ylabel="weights", ylim=(-0.28 * top, 1.05 * top))
    left.set(xticks=(-1, -0.5, 0, 0.5, 1), yticks=())
    right.set(
        xlabel="linear layer, in the model's order",
        ylabel="error (% of the matrix)",
        ylim=(0, 1.12 * 100 * max(map(max, errors.values()))),
    )
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, fontsize=9, ncols=2, loc="outside lower center")
    figure.suptitle(title, fontsize=11)
    return figure
