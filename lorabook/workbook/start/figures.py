"""The figure of notebook 00: the names that a model writes."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import BLUE, ORANGE, new_figure


def names(counts: Mapping[str, tuple[int, int]]) -> Figure:
    """Names in camelCase and in snake_case that a model wrote.

    Args:
        counts: by the model, how many names are in camelCase and how many in snake_case.
    """
    figure, axes = new_figure(7.0, 2.9)
    for number, (camel, snake) in enumerate(counts.values()):
        for place, count, colour in ((number - 0.19, camel, ORANGE), (number + 0.19, snake, BLUE)):
            axes.barh(place, count, height=0.34, color=colour)
            axes.annotate(f"{count}", (count, place), xytext=(4, 0), textcoords="offset points", va="center")
    for side, (name, colour) in enumerate((("camelCase", ORANGE), ("snake_case", BLUE))):
        number, count = max(enumerate(pair[side] for pair in counts.values()), key=lambda bar: bar[1])
        place = number + (-0.19, 0.19)[side]
        axes.annotate(name, (count, place), xytext=(24, 0), textcoords="offset points", va="center", color=colour)
    axes.set_yticks(range(len(counts)), list(counts))
    axes.invert_yaxis()
    axes.set(xlabel="multi-word names that the model wrote")
    axes.set_xlim(0, 1.25 * max(max(pair) for pair in counts.values()))
    axes.set_title("The habit comes with the adapter and goes with it")
    return figure
