"""The figures of notebook 08: right answers by the update's factor, three training losses."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import BLUE, GREEN, VERMILION, new_figure


def scaled_update(right: Mapping[float, int]) -> Figure:
    """How many of 20 questions the base model answers with its update scaled by each factor."""
    figure, axes = new_figure(7.2, 2.6)
    axes.plot(list(right), list(right.values()), color=BLUE, marker="o")
    axes.annotate("base model", (0, right[0]), (12, 1), textcoords="offset points", color=BLUE)
    axes.plot(1, right[1], color=BLUE, marker="o", markersize=9)
    axes.annotate("merged", (1, right[1]), (-20, -16), textcoords="offset points", color=BLUE)
    axes.plot(2, right[2], color=VERMILION, marker="o", markersize=9)
    arrow = {"arrowstyle": "-", "color": VERMILION}
    beside = {"textcoords": "offset points", "color": VERMILION, "arrowprops": arrow}
    axes.annotate("added twice", (2, right[2]), (-6, 40), **beside)
    axes.set(xlabel="multiple of the update added to the base model", ylabel="right answers, of 20", ylim=(-1, 21.5))
    axes.set_yticks([0, 5, 10, 15, 20])
    whole = [factor for factor, count in right.items() if count == max(right.values())]
    none = min(factor for factor in right if not any(count for other, count in right.items() if other >= factor))
    title = f"All right at {min(whole):g} to {max(whole):g} times the update, all wrong from {none:g} on"
    axes.set_title(title, fontsize=11, weight="bold")
    return figure


def three_losses(logs: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """The training loss of three runs at each step, the second with a jump, from their logs of (loss, grad_norm)."""
    figure, axes = new_figure(7.2, 2.8)
    looks = ((BLUE, "-", 8, (4, 4)), (VERMILION, "-", 6, (6, 2)), (GREEN, "--", 27, (4, 6)))
    for (name, log), (colour, style, near, aside) in zip(logs.items(), looks):
        losses = [loss for loss, grad_norm in log]
        axes.plot(range(1, len(losses) + 1), losses, color=colour, linestyle=style)
        place = min(near, len(losses))
        axes.annotate(name, (place, losses[place - 1]), aside, textcoords="offset points", color=colour)
    axes.set(xlabel="step", ylabel="training loss", xticks=(1, 10, 20, 30, 40), xlim=(0.5, None), ylim=(0, None))
    axes.set_title("One run learns, one jumps, and one is too slow", fontsize=11, weight="bold")
    return figure
