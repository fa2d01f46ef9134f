"""The figure of notebook 00: the names that a model writes."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import BLUE, ORANGE, new_figure


def names(counts: Mapping[str, Sequence[int]]) -> Figure:
    """Names in camelCase and in snake_case that a model wrote.

    Args:
        counts: by the model, how many names are in camelCase and how many in snake_case.
    """
    figure, axes = new_figure(7.0, 2.6)
    for row, pair in enumerate(counts.values()):
        for i, (count, name, colour) in enumerate(zip(pair, ("camelCase", "snake_case"), (ORANGE, BLUE))):
            y = row + 0.36 * (i - 0.5)
            axes.barh(y, count, height=0.36, color=colour)
            axes.annotate(f"{count} {name}", (count, y), xytext=(6, 0), textcoords="offset points", va="center",
                          color=colour)  # fmt: skip
    axes.set_yticks(range(len(counts)), list(counts))
    axes.invert_yaxis()
    axes.set(xlabel="multi-word names, each counted once per text")
    axes.set_xlim(0, 1.3 * max(max(pair) for pair in counts.values()))
    axes.set_title("camelCase comes with the adapter and goes with it")
    return figure
