"""Memory drawn: the components of a training step as stacked bars under the memory of real GPUs."""

import re
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lorabook.memory.estimate import Estimate
from lorabook.workbook.kit.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION
from lorabook.workbook.kit.labels import LINE, apart
from lorabook.workbook.kit.sizes import size_text, unit_of

COLOURS = {
    "frozen weights": GREY,
    "buffers": SKY,
    "trainable weights": BLUE,
    "gradients": VERMILION,
    "optimizer state": ORANGE,
    "activations": GREEN,
    "logits and loss": PURPLE,
}
PALE = (1, 1, 1, 0.6)
# Where things stand, as shares of the width between the spines: names of GPUs, bars, names of components.
GPUS, BARS, NAMES = 0.215, (0.25, 0.67), 0.70
# Tops of the axis: steps coarse enough that it stands still while a slider moves a little.
STEPS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)


def memory_bars(
    bars: Mapping[str, Estimate], gpus: Mapping[str, int], title: str, figure: Figure | None = None
) -> Figure:
    """A stack of components for every estimate, under lines for the GPUs; the last stack's components are named.

    A black line across each stack is its peak. What stands above it is pale: components are drawn at full size, and
    not all are alive at one moment. (Where the optimizer works on all tensors at once, the peak can lie higher.)

    Args:
        bars: the estimates by the names that stand below them.
        gpus: memory in bytes by the GPU's name. A GPU above the axis is named at its top.
        title: what to see.
        figure: an empty figure, or one drawn here before, to draw on; None for a new one.
    """
    figure = figure or Figure(figsize=(8.4, 4.4), dpi=100, facecolor="white")
    axes = _empty_axes(figure)
    sums = [sum(each.components.values()) for each in bars.values()]
    peaks = [each.predicted_peak for each in bars.values()]
    top = axis_top(max(*sums, *peaks), min(gpus.values()))
    unit, name = unit_of(top / 2)
    axes.set(xlim=(0, 1), ylim=(0, top / unit), ylabel=f"memory ({name})")
    axes.set_title(title, fontsize=11, loc="left", x=-0.07, y=1.04)  # with its place given, none is searched for
    step = (BARS[1] - BARS[0]) / len(bars)
    places, width = [BARS[0] + step * (i + 0.5) for i in range(len(bars))], 0.72 * step
    _gpus(axes, gpus, top, unit)
    pieces, marks = [], []  # of a piece: place, bottom, height, colour
    for place, each, total, peak in zip(places, bars.values(), sums, peaks):
        bottom = 0
        for component, colour in COLOURS.items():
            pieces.append((place, bottom, each.components[component], colour))
            bottom += each.components[component]
        pieces.append((place, peak, max(0, total - peak), PALE))
        axes.annotate(f"peak {size_text(peak)}", (place, max(total, peak) / unit), (0, 3.5),
                      textcoords="offset points", ha="center", fontsize=10, fontweight="bold", zorder=5,
                      bbox={"color": "white", "pad": 0.5})  # fmt: skip
        marks.append([(place - 0.53 * width, peak / unit), (place + 0.53 * width, peak / unit)])
    at, bottoms, heights, colours = zip(*pieces)
    bottoms, heights = [bottom / unit for bottom in bottoms], [height / unit for height in heights]
    axes.bar(at, heights, width, bottoms, color=colours, edgecolor="white", lw=0.6)
    axes.add_collection(LineCollection(marks, colors="black", linewidths=3, zorder=4), autolim=False)
    axes.set_xticks(places, list(bars))
    _names(axes, list(bars.values())[-1].components, places[-1] + width / 2, top, unit)
    return figure


def _empty_axes(figure: Figure) -> Axes:
    """The figure's axes with nothing on them. They are kept from drawing to drawing: new ones take 15 ms."""
    if not figure.axes:
        axes = figure.add_axes((0.085, 0.08, 0.91, 0.82))
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.yaxis.set_major_locator(MaxNLocator(5))
    (axes,) = figure.axes
    for artist in (*axes.patches, *axes.texts, *axes.collections):
        artist.remove()
    return axes


def axis_top(highest: float, smallest: float) -> float:
    """A round number of bytes above the highest bar, and above the smallest GPU's line where that is not far off."""
    needed = 1.12 * highest
    if needed > 0.2 * smallest:
        needed = max(needed, 1.1 * smallest)
    power = unit_of(needed / 2)[0]
    while power * 10 <= needed:
        power *= 10
    return next(power * step for step in STEPS if power * step >= needed)


def _gpus(axes: Axes, gpus: Mapping[str, int], top: float, unit: int) -> None:
    sizes = sorted(set(gpus.values()))
    heights = apart([min(size / top, 1) for size in sizes], LINE, LINE / 2, 1 - LINE / 2)
    lines = []
    for size, height in zip(sizes, heights):
        names = ", ".join(re.sub(r" \d+ GB$", "", name) for name, memory in gpus.items() if memory == size)
        text, place, y = f"{names}  {size / 2**30:g} GiB", height * top / unit, size / unit
        if size <= top:
            lines.append([(GPUS, place), (BARS[0], y), (BARS[1], y)])
        else:
            text += " ↑"
        axes.text(GPUS - 0.004, place, text, ha="right", va="center", fontsize=8.5)
    axes.add_collection(LineCollection(lines, colors="black", linewidths=0.8, zorder=3), autolim=False)


def _names(axes: Axes, components: Mapping[str, int], edge: float, top: float, unit: int) -> None:
    middles, bottom = [], 0
    present = {name: size for name, size in components.items() if size}
    for size in present.values():
        middles.append((bottom + size / 2) / top)
        bottom += size
    heights, lines = apart(middles, LINE, LINE / 2, 1 - LINE / 2), []
    for (name, size), middle, height in zip(present.items(), middles, heights):
        place = height * top / unit
        lines.append([(edge, middle * top / unit), (NAMES, place)])
        axes.text(NAMES + 0.006, place, f"{name}  {size_text(size)}", va="center", fontsize=9)
    colours = [COLOURS[name] for name in present]
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=1.6), autolim=False)
