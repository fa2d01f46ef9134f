"""The figures of notebook 00: what the next token may be before and after training, and the map of the book."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from lorabook.workbook.kit.figures import GREEN, GREY, ORANGE, PURPLE, new_figure


def next_tokens(before: Mapping[str, float], after: Mapping[str, float], title: str) -> Figure:
    """Two bars a token, its probability before and after training, likeliest of both first; the same tokens in both."""
    figure, axes = new_figure(7.4, 0.9 + 0.42 * len(before))
    names = sorted(before, key=lambda name: max(before[name], after[name]), reverse=True)
    places = range(len(names))
    for probabilities, shift, colour, label in ((before, -0.2, GREY, "before"), (after, 0.2, ORANGE, "after 30 steps")):
        values = [probabilities[name] for name in names]
        axes.barh([place + shift for place in places], values, 0.36, color=colour, label=label)
        for place, value in zip(places, values):
            axes.text(value, place + shift, f" {value:.0%}", va="center", fontsize=8)
    axes.set_yticks(places, names, family="monospace")
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.1 * max(max(before.values()), max(after.values()))), xlabel="probability of the next token")
    axes.set_title(title)
    axes.legend(frameon=False, loc="lower right")
    return figure


@dataclass(frozen=True)
class Chapter:
    """A notebook: its number, a name short enough for a box, its minutes, and the part of the book it belongs to."""

    number: str
    name: str
    minutes: int
    part: str


CHAPTERS = (
    Chapter("00", "start here", 15, "LoRA"),
    Chapter("01", "LoRA from\nscratch", 45, "LoRA"),
    Chapter("02", "where\nmemory goes", 40, "LoRA"),
    Chapter("03", "rank and α", 45, "LoRA"),
    Chapter("04", "low-rank\nupdates", 40, "why it works"),
    Chapter("05", "intrinsic\ndimension", 40, "why it works"),
    Chapter("06", "Fastfood\n(optional)", 40, "why it works"),
    Chapter("07", "many tasks", 45, "in practice"),
    Chapter("08", "the clinic", 35, "in practice"),
    Chapter("09", "fine-tune\nStarCoder", 30, "in practice"),
)
PARTS = {"LoRA": ORANGE, "why it works": GREEN, "in practice": PURPLE}
DETOUR = "06"
# Column and row of every box: a row for each part, the second from right to left.
PLACES = {"00": (0, 0), "01": (1, 0), "02": (2, 0), "03": (3, 0), "04": (3, 1), "05": (2, 1), "06": (1, 1)}
PLACES |= {"07": (1, 2), "08": (2, 2), "09": (3, 2)}
WIDE, HIGH = 0.74, 0.78


def book_map(chapters: Sequence[Chapter] = CHAPTERS) -> Figure:
    """Every notebook as a box with its minutes, coloured by part, and arrows for the way through; dashed: a detour."""
    figure = Figure(figsize=(7.8, 3.9), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.set(xlim=(-0.45, 3.45), ylim=(2.45, -0.45))
    axes.set_axis_off()
    for c in chapters:
        x, y = PLACES[c.number]
        corner = (x - WIDE / 2, y - HIGH / 2)
        axes.add_patch(
            FancyBboxPatch(corner, WIDE, HIGH, "round,pad=0,rounding_size=0.08", fc=PARTS[c.part], ec="none")
        )
        axes.text(x, y, f"{c.number}\n{c.name}\n{c.minutes} min", ha="center", va="center", fontsize=8.5)
    main = [c.number for c in chapters if c.number != DETOUR]
    for one, other in pairwise(main):
        _arrow(axes, one, other, "-")
    before, after = main[main.index("05")], main[main.index("05") + 1]
    _arrow(axes, before, DETOUR, "--")
    _arrow(axes, DETOUR, after, "--")
    handles = [axes.plot([], [], "s", color=colour, ms=8, label=part)[0] for part, colour in PARTS.items()]
    axes.legend(handles=handles, frameon=False, fontsize=9, loc="lower left")
    axes.set_title("The way through the book; 06 can be left out")
    return figure


def _arrow(axes: Axes, one: str, other: str, style: str) -> None:
    (x0, y0), (x1, y1) = PLACES[one], PLACES[other]
    across = abs(x1 - x0) >= abs(y1 - y0) and y0 == y1
    dx, dy = ((WIDE / 2) * (1 if x1 > x0 else -1), 0) if across else (0, (HIGH / 2) * (1 if y1 > y0 else -1))
    ends = (x0 + dx, y0 + dy), (x1 - dx, y1 - dy)
    axes.add_patch(FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=12, color="#444444", linestyle=style,
                                   shrinkA=1, shrinkB=1))  # fmt: skip
