"""The figures of notebook 09: the lengths of the examples, and what the fall of the loss is made of."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from lorabook.training.evaluate import QuestionGain
from lorabook.workbook.kit.figures import BLUE, DARK_VERMILION, GREEN, GREY, ORANGE, VERMILION, new_figure


def length_histogram(lengths: Sequence[int], max_length: int) -> Figure:
    """How long the rows are in tokens; rows at `max_length` were cut."""
    figure, axes = new_figure()
    axes.hist(lengths, bins=30, range=(0, max_length), color=BLUE)
    axes.axvline(max_length, color=VERMILION, linestyle="--")
    axes.text(max_length, axes.get_ylim()[1], f"cut at {max_length} ", ha="right", va="top", color=DARK_VERMILION)
    cut = sum(length >= max_length for length in lengths)
    title = f"{cut:,} of {len(lengths):,} rows reach the cut" if cut else f"No row of {len(lengths):,} reaches the cut"
    axes.set(xlabel="question and answer (tokens)", ylabel="rows", title=title)
    return figure


def fall_waterfall(before: QuestionGain, after: QuestionGain) -> Figure:
    """From base to tuned loss in two parts: manner (also with another question) and what the own question adds."""
    manner = before.other - after.other
    question = after.gain - before.gain
    figure, axes = new_figure(6.4, 3.6)
    names = ["base", "manner", "question", "tuned"]
    bottoms = [0, before.own - manner, min(before.own - manner, after.own), 0]
    heights = [before.own, manner, abs(question), after.own]
    texts = [f"{before.own:.2f}", f"−{manner:.2f}", f"{-question:+.2f}".replace("-", "−"), f"{after.own:.2f}"]
    bars = axes.bar(names, heights, bottom=bottoms, color=[GREY, ORANGE, GREEN, BLUE], width=0.6)
    for bar, text in zip(bars, texts):
        axes.annotate(text, (bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height()), ha="center",
                      xytext=(0, 4), textcoords="offset points")  # fmt: skip
    axes.set_ylim(0.9 * min(after.own, before.own - manner), 1.03 * before.own)
    axes.set(
        ylabel="held-out loss (nats per token, axis cut)", title="How much of the fall is manner, how much the question"
    )
    return figure
