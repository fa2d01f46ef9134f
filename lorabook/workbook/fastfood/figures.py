"""The figures of notebook 06: the butterfly, and what a factor is worth."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lorabook.workbook.kit.figures import BLUE, PURPLE, VERMILION, new_figure


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
            width, alpha = (2.2, 1) if upper == 0 else (1, 0.35)
            for source in (upper, upper | h):
                minus = source == place != upper
                colour, style = (VERMILION, "--") if minus else (BLUE, "-")
                axes.plot([stage + 0.13, stage + 0.87], [source, place], style, color=colour, lw=width, alpha=alpha)
        axes.text(stage + 0.5, -0.75, f"round {stage + 1}: distance {h}", ha="center", va="center")
    for stage, numbers in enumerate(stages):
        for place, number in enumerate(numbers):
            axes.text(stage, place, f"{number:g}".replace("-", "−"), ha="center", va="center")
    axes.plot([], [], "-", color=BLUE, label="added")
    axes.plot([], [], "--", color=VERMILION, label="subtracted")
    axes.legend(frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.06))
    axes.set_xticks([0, len(stages) - 1], ["x", "H x"])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set(xlim=(-0.3, len(stages) - 0.7), ylim=(n - 0.4, -1.1))
    axes.set_title(f"{len(stages) - 1} rounds, {(len(stages) - 1) * n} additions: H x for {n} values")
    return figure


VARIANTS = {  # of the stored result "fastfood/fastfood_factors": what a curve is called, its colour and marker
    "": ("Fastfood, all factors on", BLUE, "o"),
    "dense": ("dense P", "black", "x"),
    "H": ("both Hs off", PURPLE, "D"),
    "GΠ": ("Π and G off", VERMILION, "v"),
}


def accuracy_without(runs: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]], title: str) -> Figure:
    """Test accuracy over d with factors switched off: the mean of all seeds, and their range.

    Args:
        runs: by d, by variant of VARIANTS, the "test" accuracies.
        title: what to see.
    """
    figure, axes = new_figure(7.8, 4.2)
    dimensions = [int(d) for d in runs]
    for variant, (label, colour, marker) in VARIANTS.items():
        low, mean, high = zip(*(spread(of[variant]["test"]) for of in runs.values()))
        axes.plot(dimensions, mean, marker + "-", color=colour, lw=1.8, ms=6, label=label)
        axes.fill_between(dimensions, low, high, color=colour, alpha=0.1, lw=0)
    axes.axhline(0.1, color="black", lw=0.8, ls="--")
    axes.annotate(
        "guessing", (dimensions[-1], 0.1), xytext=(0, -12), textcoords="offset points", ha="right", fontsize=9
    )
    axes.set_xscale("log")
    axes.set_xticks(dimensions, [f"{d:,}" for d in dimensions])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.set(xlabel="directions d (log scale)", ylabel="test accuracy", title=title, ylim=(0, 1.02))
    axes.legend(frameon=False, fontsize=9, loc="lower right", bbox_to_anchor=(1, 0.1))
    return figure


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Least, mean and greatest."""
    return min(values), sum(values) / len(values), max(values)
