"""The figures of notebook 06: the butterfly, and pictures that P scrambles."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from lorabook.workbook.kit.figures import BLUE, VERMILION, new_figure, new_panes

ORANGE_TO_BLACK = LinearSegmentedColormap.from_list("orange to black", (VERMILION, "white", "black"))


def butterfly(x: Sequence[float]) -> Figure:
    """H x round by round: a column of numbers before the first round and after each, a line for each term of each sum.

    Args:
        x: n numbers, n a power of two.
    """
    figure, axes = new_figure(7.0, 4.2)
    n, stages = len(x), [list(x)]
    while n >> len(stages):
        stage, h = len(stages) - 1, n >> len(stages)
        before = stages[-1]
        stages.append([before[i & ~h] + (-1 if i & h else 1) * before[i | h] for i in range(n)])
        for place in range(n):
            upper = place & ~h  # the first of the pair that `place` belongs to
            width, alpha = (2.4, 1) if upper == 0 else (1, 0.75)
            for source in (upper, upper | h):
                minus = source == place != upper
                colour, style = (VERMILION, "--") if minus else (BLUE, "-")
                axes.plot([stage + 0.16, stage + 0.84], [source, place], style, color=colour, lw=width, alpha=alpha)
        axes.text(stage + 0.5, -0.75, f"round {stage + 1}: distance {h}", ha="center", va="center")
    for stage, numbers in enumerate(stages):
        for place, number in enumerate(numbers):
            axes.text(stage, place, f"{number:g}".replace("-", "−"), ha="center", va="center")
    axes.plot([], [], "-", color=BLUE, label="added")
    axes.plot([], [], "--", color=VERMILION, label="subtracted")
    axes.legend(frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 0.02))
    for stage, name in ((0, "x"), (len(stages) - 1, "H x")):
        axes.text(stage, -0.75, name, ha="center", va="center", fontweight="bold")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set(xlim=(-0.3, len(stages) - 0.7), ylim=(n - 0.4, -1.1))
    axes.set_title(f"{len(stages) - 1} rounds, {(len(stages) - 1) * n} additions and subtractions: H x for {n} values")
    return figure


def scrambled(secret: Tensor, target: Tensor) -> Figure:
    """A picture, and beside it what P makes of it, its largest value in black or orange.

    Args:
        secret, target: two matrices of the same proportions.
    """
    figure, (left, right) = new_panes(7.4, 1.2)
    _picture(left, secret, f"the secret: {secret.numel()} values")
    _picture(right, target, f"P times the secret: {target.numel():,} values", target.abs().max().item())
    return figure


def pictures(images: Mapping[str, Tensor]) -> Figure:
    """Pictures, two in a row, each under its name."""
    rows = -(-len(images) // 2)
    figure = Figure(figsize=(7.4, 1.35 * rows), layout="constrained")
    for axes, (name, image) in zip(figure.subplots(rows, 2, squeeze=False).flatten(), images.items()):
        _picture(axes, image, name)
        if image.abs().max() < 0.01:  # a blank picture isn't a failed one
            axes.text(0.5, 0.5, "still blank", transform=axes.transAxes, ha="center", va="center", color="gray")
    return figure


def _picture(axes: Axes, image: Tensor, name: str, largest: float = 1) -> None:
    """0 is white, `largest` black and its negative orange."""
    axes.imshow(image.numpy(), cmap=ORANGE_TO_BLACK, vmin=-largest, vmax=largest)
    axes.set_title(name, fontsize=11)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(visible=True, color="silver")
