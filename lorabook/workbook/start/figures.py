"""The figure of notebook 00: the names that a model writes."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import BLUE, ORANGE, new_figure


def names(counts: Mapping[str, tuple[int, int]]) -> Figure:
    """Names in camelCase and in snake_case that a model wrote.

    Args:
        counts: by the model, how many names are in camelCase and how many in snake_case.
    """
    figure, axes = new_figure(7.0, 2.4)
    for row, (camel, snake) in enumerate(counts.values()):
        axes.barh(row, camel, height=0.5, color=ORANGE)
        axes.barh(row, snake, left=camel, height=0.5, color=BLUE)
        for count, end, name, colour in (
            (camel, camel, "camelCase", ORANGE),
            (snake, camel + snake, "snake_case", BLUE),
        ):
            if count:
                axes.annotate(f"{count} {name}", (end, row), xytext=(6, 0), textcoords="offset points", va="center",
                              color=colour)  # fmt: skip
    axes.set_yticks(range(len(counts)), list(counts))
    axes.invert_yaxis()
    axes.set(xlabel="multi-word names, each counted once per text")
    axes.set_xlim(0, 1.3 * max(sum(pair) for pair in counts.values()))
    axes.set_title("camelCase comes with the adapter and goes with it")
    return figure
