"""What all figures share: the book's colours and look, and `show`, which displays one."""

import io
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.typing import ColorType

from lorabook.training.history import History

# Okabe and Ito's palette: told apart by readers with any of the common colour deficiencies.
BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#999999"
SKY, PURPLE = "#56B4E9", "#CC79A7"
ON_LIGHT, ON_DARK = "#1A1A1A", "#FEFEFE"  # of text on a coloured area, which is drawn as it is on every page


def new_figure(width: float = 7.0, height: float = 3.4) -> tuple[Figure, Axes]:
    """An empty figure in the book's look, outside pyplot, so that none stays open."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def new_panes(width: float, height: float, panes: int = 2, **layout: Any) -> tuple[Figure, Any]:
    """As `new_figure`, with as many axes as `panes` side by side; `layout` is for `Figure.subplots`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    row: Any = figure.subplots(1, panes, **layout)
    for axes in row:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, row


def legible(colour: ColorType) -> str:
    """The colour, darker or lighter, with the same contrast on a white page as on JupyterLab's dark one, 4.3 to 1.

    That is relative luminance 0.19 by WCAG 2.1; black becomes a grey.
    """
    middle, weights = 0.192, (0.2126, 0.7152, 0.0722)
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in to_rgb(colour)]
    luminance = sum(weight * x for weight, x in zip(weights, linear))
    if luminance > middle:
        linear = [x * middle / luminance for x in linear]
    else:
        linear = [x + (1 - x) * (middle - luminance) / (1 - luminance) for x in linear]
    r, g, b = (12.92 * x if x <= 0.0031308 else 1.055 * x ** (1 / 2.4) - 0.055 for x in linear)
    return to_hex((r, g, b))


def _for_any_page(figure: Figure) -> None:
    """Let the page show through, and keep text and black lines legible on white pages and on dark ones."""
    ink = legible("black")
    figure.set_facecolor("none")
    for axes in figure.axes:
        axes.set_facecolor("none")
        axes.spines[:].set_edgecolor(ink)
        axes.tick_params(which="both", colors=ink)
    for text in figure.findobj(Text):
        if text.get_color() not in (ON_LIGHT, ON_DARK):
            text.set_color(legible(text.get_color()))
    for line in figure.findobj(Line2D):
        if line.get_color() == "black":
            line.set_color(ink)


def to_png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as a PNG without a background."""
    _for_any_page(figure)
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
    axes.plot(steps, history.losses, color=BLUE, lw=1, alpha=0.6, label="training, one step")
    if history.held_out:
        places, values = zip(*history.held_out)
        axes.plot(places, values, "o--", color=VERMILION, label="held out")
        for x, y in {history.held_out[0], history.held_out[-1]}:
            place, ha = ((5, 5), "left") if x == 0 else ((0, 8), "center")  # not across the axis
            axes.annotate(f"{y:.2f}", (x, y), place, textcoords="offset points", ha=ha, color=VERMILION)
    axes.set(xlabel="optimizer step", ylabel="loss per answer token", title=title)
    axes.set_xlim(-0.5, max(total or 0, len(steps), 1) + 1.5)
    axes.margins(y=0.12)  # room for the numbers
    axes.legend(frameon=False)
    return figure
