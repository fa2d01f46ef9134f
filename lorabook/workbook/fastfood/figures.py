"""The figure of notebook 06: the butterfly."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import BLUE, VERMILION, new_figure


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
