"""The figures: pure functions from computed values to a Matplotlib figure, and `show`, which displays one."""

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lorabook.training.evaluate import QuestionGain
from lorabook.training.history import History

# Okabe and Ito's palette: told apart by readers with any of the common colour deficiencies.
BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#999999"
DARK_VERMILION = "#B04A00"  # for text, which needs more contrast than marks do


def new_figure(width: float = 7.0, height: float = 3.4) -> tuple[Figure, Axes]:
    """An empty figure in the book's look, outside pyplot, so that none stays open."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def label_bar(axes: Axes, place: float, height: float, mark: float | None = None) -> None:
    """Write a bar's height over the bar, or over a mark at the height `mark` that would strike through the number.

    The limits of `axes` must stand already.
    """
    low, high = axes.get_ylim()
    top = height
    if mark is not None and -0.02 < (mark - height) / (high - low) < 0.1:
        top = max(mark, height)
    axes.annotate(f"{height:.2f}", (place, top), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=9)


def to_png(figure: Figure, dpi: int = 110) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def show(figure: Figure, description: str) -> None:
    """Display a figure with its description: as its text alternative, and as a caption below it."""
    from IPython.display import Markdown, display

    display({"image/png": to_png(figure), "text/plain": description}, raw=True)
    display(Markdown(f"*{description}*"))


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


def loss_curve(history: History, title: str = "The loss of the answers falls", total: int | None = None) -> Figure:
    """Training loss over steps, and the held-out loss where it was measured."""
    figure, axes = new_figure()
    steps = [s.step for s in history.steps]
    axes.plot(steps, history.losses, color=BLUE, label="training, one step's rows")
    if history.held_out:
        places, values = zip(*history.held_out)
        axes.plot(places, values, "o--", color=VERMILION, label="held out")
        for x, y in history.held_out:
            axes.annotate(f"{y:.2f}", (x, y), textcoords="offset points", xytext=(6, 6), color=DARK_VERMILION)
    axes.set(xlabel="optimizer step", ylabel="loss (nats per answer token)", title=title)
    axes.set_xlim(-0.5, max(total or 0, len(steps), 1) + 1.5)
    axes.legend(frameon=False)
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
