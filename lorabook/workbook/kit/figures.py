"""What all figures share: the book's colours and look, and `show`, which displays one."""

import io
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lorabook.training.history import History

# Okabe and Ito's palette: told apart by readers with any of the common colour deficiencies.
BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#999999"
SKY, PURPLE = "#56B4E9", "#CC79A7"
DARK_VERMILION = "#B04A00"  # for text, which needs more contrast than marks do


def new_figure(width: float = 7.0, height: float = 3.4) -> tuple[Figure, Axes]:
    """An empty figure in the book's look, outside pyplot, so that none stays open."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def new_panes(width: float, height: float, panes: int = 2, **layout: Any) -> tuple[Figure, Any]:
    """As `new_figure`, with as many axes as `panes` side by side; `layout` is for `Figure.subplots`."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    row: Any = figure.subplots(1, panes, **layout)
    for axes in row:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, row


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


def loss_curve(history: History, title: str = "The loss drops", total: int | None = None) -> Figure:
    """Training loss over steps, and the held-out loss where it was measured."""
    figure, axes = new_figure()
    steps = [s.step for s in history.steps]
    axes.plot(steps, history.losses, color=BLUE, label="training, one step")
    if history.held_out:
        places, values = zip(*history.held_out)
        axes.plot(places, values, "o--", color=VERMILION, label="held out")
        for x, y in history.held_out:
            axes.annotate(f"{y:.2f}", (x, y), textcoords="offset points", xytext=(6, 6), color=DARK_VERMILION)
    axes.set(xlabel="optimizer step", ylabel="loss (nats per answer token)", title=title)
    axes.set_xlim(-0.5, max(total or 0, len(steps), 1) + 1.5)
    axes.legend(frameon=False)
    return figure
