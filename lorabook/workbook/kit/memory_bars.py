"""Memory drawn: what is alive when a training step peaks, as stacked bars under the memory of real GPUs."""

import re
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lorabook.memory.estimate import Estimate
from lorabook.sizes import size_text, unit_of
from lorabook.workbook.kit.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION
from lorabook.workbook.kit.labels import LINE, apart

ACTIVATIONS, WORKSPACE = "activations and loss", "optimizer's workspace"
COLOURS = {
    "frozen weights": GREY,
    "buffers": SKY,
    "trainable weights": BLUE,
    "optimizer state": ORANGE,
    "gradients": VERMILION,
    ACTIVATIONS: GREEN,
    WORKSPACE: PURPLE,
}
# Where things stand, as shares of the width between the spines: names of GPUs, bars, names of components.
GPUS, BARS, NAMES = 0.215, (0.25, 0.67), 0.70
WRITTEN = 0.045  # a component's size is written into its part of the bar if that is at least so high
# Tops of the axis: steps coarse enough that it stands still while a slider moves a little.
STEPS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)


def alive(found: Estimate, moment: str) -> dict[str, int]:
    """The bytes alive at a moment of `Estimate.moments`, by the names of COLOURS.

    Gradients are counted where all of them are there, at the end of the backward pass and in the optimizer step. What
    is neither weights nor state nor gradients is the optimizer's workspace in its step, and activations and loss else.
    """
    part = found.components
    parts = {name: part[name] for name in ("frozen weights", "buffers", "trainable weights", "optimizer state")}
    parts["gradients"] = part["gradients"] if moment in ("end of backward", "optimizer step") else 0
    rest = found.moments[moment] - sum(parts.values())
    return parts | {ACTIVATIONS: 0, WORKSPACE: 0} | {WORKSPACE if moment == "optimizer step" else ACTIVATIONS: rest}


def at_peak(found: Estimate) -> dict[str, int]:
    """The bytes alive at the fullest moment."""
    return alive(found, max(found.moments, key=lambda moment: found.moments[moment]))


def memory_bars(
    bars: Mapping[str, Estimate], gpus: Mapping[str, int], title: str, figure: Figure | None = None
) -> Figure:
    """What is alive at the peak of every estimate, stacked, over lines for the GPUs; the last stack's sizes are listed.

    Args:
        bars: the estimates by the names that stand below them.
        gpus: memory in bytes by the GPU's name. A GPU above the axis is named at its top.
        title: what to see.
        figure: an empty figure, or one drawn here before, to draw on; None for a new one.
    """
    figure = figure or Figure(figsize=(8.4, 4.4), dpi=100, facecolor="white")
    axes = _empty_axes(figure)
    peaks = [each.predicted_peak for each in bars.values()]
    top = axis_top(max(peaks), min(gpus.values()))
    unit, name = unit_of(top / 2)
    axes.set(xlim=(0, 1), ylim=(0, top / unit), ylabel=f"memory ({name})")
    axes.set_title(title, fontsize=11, loc="left", x=-0.07, y=1.04)  # with its place given, none is searched for
    step = (BARS[1] - BARS[0]) / len(bars)
    places, width = [BARS[0] + step * (i + 0.5) for i in range(len(bars))], 0.72 * step
    _gpus(axes, gpus, top, unit)
    pieces = []  # of a piece: place, bottom, height, colour
    for place, each, peak in zip(places, bars.values(), peaks):
        bottom = 0
        for component, size in at_peak(each).items():
            pieces.append((place, bottom / unit, size / unit, COLOURS[component]))
            if size > WRITTEN * top:
                axes.text(place, (bottom + size / 2) / unit, size_text(size), ha="center", va="center", fontsize=9)
            bottom += size
        axes.annotate(f"peak {size_text(peak)}", (place, peak / unit), (0, 3.5), textcoords="offset points",
                      ha="center", fontsize=10, fontweight="bold", zorder=5,
                      bbox={"color": "white", "pad": 0.5})  # fmt: skip
    at, bottoms, heights, colours = zip(*pieces)
    axes.bar(at, heights, width, bottoms, color=colours, edgecolor="white", lw=0.6, zorder=2)
    axes.set_xticks(places, list(bars))
    _names(axes, [at_peak(each) for each in bars.values()])
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
    axes.add_collection(LineCollection(lines, colors="black", linewidths=0.8, zorder=1), autolim=False)


def _names(axes: Axes, stacks: Sequence[Mapping[str, int]]) -> None:
    """The components of all bars in the order of the stack, with their sizes in the last bar."""
    shown = [name for name in COLOURS if any(stack[name] for stack in stacks)]
    heights = [0.05 + 1.35 * LINE * line for line in range(len(shown))]
    colours = [COLOURS[name] for name in shown]
    axes.scatter([NAMES] * len(shown), heights, s=45, c=colours, marker="s", transform=axes.transAxes)
    for name, height in zip(shown, heights):
        size = f"  {size_text(stacks[-1][name])}" if stacks[-1][name] else ""
        axes.text(NAMES + 0.015, height, f"{name}{size}", va="center", fontsize=9, transform=axes.transAxes)
