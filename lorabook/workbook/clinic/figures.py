"""The figures of notebook 08: right answers by the update's factor, three training losses."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import BLUE, GREEN, VERMILION, new_figure


def scaled_update(right: Mapping[float, int]) -> Figure:
    """How many of 20 questions the base model answers with its update scaled by each factor."""
    figure, axes = new_figure(7.2, 2.6)
    axes.plot(list(right), list(right.values()), color=BLUE, marker="o")
    axes.plot(1, right[1], color=BLUE, marker="o", markersize=9)
    axes.annotate("merged", (1, right[1]), (-20, -16), textcoords="offset points", color=BLUE)
    axes.plot(2, right[2], color=VERMILION, marker="o", markersize=9)
    arrow = {"arrowstyle": "-", "color": VERMILION}
    beside = {"textcoords": "offset points", "color": VERMILION, "arrowprops": arrow}
    axes.annotate("added twice", (2, right[2]), (-6, 40), **beside)
    axes.set(xlabel="multiple of the update added to the base model", ylabel="right answers, of 20", ylim=(-1, 21.5))
    axes.set_yticks([0, 5, 10, 15, 20])
    whole = [factor for factor, count in right.items() if count == max(right.values())]
    title = f"All answers are right at {min(whole):g} to {max(whole):g} times the update, {right[2] or 'none'} at twice"
    axes.set_title(title, fontsize=11, weight="bold")
    return figure


def three_losses(losses: Mapping[str, Sequence[float]]) -> Figure:
    """The training loss of three runs at each step, the second with a jump."""
    figure, axes = new_figure(7.2, 2.8)
    looks = ((BLUE, "-", 4, (2, 8)), (VERMILION, "-", 8, (2, 8)), (GREEN, "--", 27, (4, 6)))
    for (name, values), (colour, style, near, aside) in zip(losses.items(), looks):
        axes.plot(range(1, len(values) + 1), values, color=colour, linestyle=style)
        place = min(near, len(values))
        axes.annotate(name, (place, values[place - 1]), aside, textcoords="offset points", color=colour)
    axes.set(
        xlabel="step", ylabel="training loss (log scale)", xticks=(1, 10, 20, 30, 40), xlim=(0.5, None), yscale="log"
    )
    axes.set_yticks([0.01, 0.1, 1, 10], ["0.01", "0.1", "1", "10"])
    axes.set_title("One run learns, one jumps, and one is too slow", fontsize=11, weight="bold")
    return figure
