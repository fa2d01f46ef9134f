"""The figures of notebook 02: what one answer costs token by token, and what a block keeps case by case."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from lorabook.workbook.kit.figures import BLUE, DARK_VERMILION, GREY, ORANGE, VERMILION, new_figure

NAMED = 4  # tokens written beside their bars


def token_losses(losses: Sequence[float], pieces: Sequence[str], start: int) -> Figure:
    """-ln p of every answer token over its place in the row; the question before it has none.

    Args:
        losses: nats, one an answer token. pieces: the text of each.
        start: how many tokens the question has.
    """
    figure, axes = new_figure(7.4, 3.5)
    mean, places = sum(losses) / len(losses), [start + t for t in range(len(losses))]
    axes.bar(places, losses, width=1.0, color=BLUE, edgecolor="white", lw=0.4)
    axes.axvspan(-0.5, start - 0.5, color=GREY, alpha=0.2, lw=0)
    axes.set(xlim=(-0.5, places[-1] + 1.5), ylim=(0, 1.16 * max(losses)))
    middle = blended_transform_factory(axes.transData, axes.transAxes)
    axes.text((start - 1) / 2, 0.5, "the question:\nread, not scored", ha="center", va="center", transform=middle)
    axes.plot([start - 0.5, places[-1] + 0.5], [mean, mean], "--", color=VERMILION, lw=1.4)
    axes.text(start - 1.5, mean, f"mean {mean:.2f}", ha="right", va="center", color=DARK_VERMILION)
    for t in _far_apart(losses, NAMED, len(losses) // 12):
        text = pieces[t].strip(" ").replace("\n", "⏎") or "␣"
        axes.annotate(text, (places[t], losses[t]), (0, 2), textcoords="offset points", ha="center", fontsize=8)
    dear = sorted(losses, reverse=True)[: round(len(losses) / 5)]
    axes.set_title(f"A fifth of the answer's tokens carry {sum(dear) / sum(losses):.0%} of its loss")
    axes.set(xlabel="place in the row (tokens)", ylabel="loss (nats)")
    return figure


def kept_by_case(cases: Mapping[str, float], frozen: str, full: str) -> Figure:
    """What one block keeps for the backward pass, in bytes for each number of its input.

    Grey is what the case `frozen` keeps, where nothing is trained and the gradient only flows through; orange what
    comes on top for the weights that are trained. A dashed line marks the case `full`.
    """
    figure, axes = new_figure(7.4, 0.9 + 0.45 * len(cases))
    names, floor = list(cases)[::-1], cases[frozen]
    values = [cases[name] for name in names]
    axes.barh(names, [min(floor, value) for value in values], 0.65, color=GREY, label="whatever is trained")
    above = [max(0, value - floor) for value in values]
    axes.barh(names, above, 0.65, [floor] * len(names), color=ORANGE, label="for what is trained")
    for place, value in enumerate(values):
        axes.text(value, place, f" {value:.1f}", va="center")
    axes.axvline(cases[full], color="black", linestyle="--", lw=1)
    axes.set_xlim(0, 1.08 * max(values))
    axes.legend(loc="upper right", framealpha=1, edgecolor="none")  # opaque, over the dashed line
    axes.set_title(f"A frozen block still keeps {floor / cases[full]:.0%} of its activations")
    axes.set_xlabel("kept for the backward pass (bytes for each number of the block's input)")
    return figure


def _far_apart(values: Sequence[float], count: int, gap: int) -> list[int]:
    """The places of the `count` largest values, none within `gap` of a larger one that was chosen."""
    chosen: list[int] = []
    for t in sorted(range(len(values)), key=lambda t: -values[t]):
        if len(chosen) < count and all(abs(t - other) > gap for other in chosen):
            chosen.append(t)
    return sorted(chosen)
