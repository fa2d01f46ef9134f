"""The Serving explorer: many tasks on one base, as copies, as LoRA adapters and as bottleneck adapters, in bytes."""

import math
from dataclasses import dataclass
from functools import cache

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from lorabook.lora_config import ALL_LINEAR
from lorabook.memory.families import shape_of
from lorabook.memory.gpus import GPUS
from lorabook.sizes import UNITS, size_text
from lorabook.workbook.kit.controls import buttons, label, slider
from lorabook.workbook.kit.explorer import Explorer
from lorabook.workbook.kit.figures import BLUE, GREY, ORANGE, VERMILION
from lorabook.workbook.kit.gpu_room import T4
from lorabook.workbook.kit.labels import LINE, apart
from lorabook.workbook.kit.models import MODELS, USUAL_TARGETS
from lorabook.workbook.many_tasks.bottleneck import trained_parameters, width_for

# What the controls offer: what is shown, and what it stands for. A format is its bytes a number.
TASKS = {f"{tasks:,}": tasks for tasks in (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000)}
RANKS = {str(2**i): 2**i for i in range(9)}
TARGETS = {"attention": "attention", "all linear": "linear", "linear, embeddings": "all"}
FORMATS = {"fp32": 4, "fp16": 2}
MOST = max(TASKS.values())
BELOW, ABOVE = 0.11, 0.08  # room for a line of text below the lowest curve and above the highest


@dataclass(frozen=True)
class ServingState:
    """A setting of the explorer: `targets` is a value of TARGETS, `adapters` and `base` are bytes per parameter."""

    model: str = "bigcode/starcoderbase-1b"
    tasks: int = 100
    r: int = 16
    targets: str = "linear"
    adapters: int = 4
    base: int = 2


PAPER = ServingState("GPT-3 175B", 100, 4, "attention", 2, 2)
PRESETS = {
    "all linear layers": ServingState(),
    "the article's": ServingState(targets="all"),
    "adapters in fp16": ServingState(adapters=2),
    "the paper's GPT-3": PAPER,
    "one task": ServingState(tasks=1),
    "rank too large": ServingState("pocket", r=256),
}


class ServingExplorer(Explorer):
    """Model, tasks, r, targets, formats → bytes of copies, of one base with LoRA, of one with bottleneck adapters."""

    def __init__(self) -> None:
        controls = {
            "model": buttons("model", MODELS),
            "tasks": slider("tasks", TASKS),
            "r": slider("rank r", RANKS),
            "targets": buttons("target modules", TARGETS),
            "adapters": buttons("adapters in", FORMATS),
            "base": buttons("base in", FORMATS),
        }
        super().__init__(controls, ServingState(), figure, readout, PRESETS, details=details)


@dataclass(frozen=True)
class Sizes:
    """Bytes of one model and of what one task adds to it.

    Attributes:
        copy: the base, and so a fully fine-tuned model of one task.
        merged: a model with LoRA merged; larger where merging unties the head.
        rewritten: the weights that merging into the base writes anew.
        lora, bottleneck: an adapter. m: the bottleneck's width, chosen so that both train about as many parameters.
        buffers: what the model holds in memory and in no file.
    """

    copy: int
    merged: int
    rewritten: int
    lora: int
    bottleneck: int
    m: int
    buffers: int


def targets_of(state: ServingState) -> tuple[str, ...]:
    """The LoRA targets that `state.targets` stands for in its model."""
    shape = shape_of(state.model)
    if state.targets == "attention":
        return USUAL_TARGETS[shape.family.name]
    tables = tuple(m.name.rsplit(".", 1)[-1] for m in shape.modules if m.embedding)
    return (ALL_LINEAR,) if state.targets == "linear" else (ALL_LINEAR, *tables)


@cache
def sizes(state: ServingState) -> Sizes:
    """From shapes alone: r (d + k) numbers of LoRA for each matrix, and bottleneck adapters of about as many."""
    shape = shape_of(state.model)
    hits = shape.matched(targets_of(state))
    lora = state.r * sum(m.d + m.k for m in hits)
    dimensions = shape.width, shape.layers, shape.norm_parameters
    m = width_for(lora, *dimensions)
    untied = shape.head.parameters if shape.tied and shape.tables[0] in hits else 0
    return Sizes(
        copy=state.base * shape.parameters,
        merged=state.base * (shape.parameters + untied),
        rewritten=state.base * sum(m.d * m.k for m in hits),
        lora=state.adapters * lora,
        bottleneck=state.adapters * trained_parameters(m, *dimensions),
        m=m,
        buffers=shape.buffer_bytes,
    )


def figure(state: ServingState, figure: Figure | None = None) -> Figure:
    """Bytes on disk over the number of tasks, both as logarithms, with the chosen number and the break-even marked."""
    figure = figure or Figure(figsize=(8.4, 4.4), dpi=100, facecolor="white")
    axes = _empty_axes(figure)
    size, tasks = sizes(state), list(TASKS.values())
    curves = {
        "a copy per task": ("-", VERMILION, 2, [n * size.copy for n in tasks]),
        "one base, LoRA": ("-", BLUE, 4, [size.copy + n * size.lora for n in tasks]),
        "one base, bottlenecks": ("--", ORANGE, 1.5, [size.copy + n * size.bottleneck for n in tasks]),
        "the base alone": (":", GREY, 1.5, [size.copy for _ in tasks]),
    }
    ends = [math.log10(values[place]) for *_, values in curves.values() for place in (0, -1)]
    span = (max(ends) - min(ends)) / (1 - BELOW - ABOVE)
    low, high = min(ends) - BELOW * span, max(ends) + ABOVE * span
    axes.set_ylim(low, high)
    places = [(math.log10(n * unit), f"{n} {name}") for unit, name in UNITS for n in (1, 10, 100)]
    axes.set_yticks(*zip(*[tick for tick in places if low <= tick[0] <= high]))
    x, at = [math.log10(n) for n in tasks], tasks.index(state.tasks)
    for style, colour, width, values in curves.values():
        axes.plot(x, [math.log10(value) for value in values], style, color=colour, lw=width)
    _names(axes, {name: (colour, values[at]) for name, (_, colour, _, values) in curves.items()}, x[at], low, high)
    axes.text(x[at], high, f" {_tasks(state.tasks)} ", ha="left" if x[at] < 1.5 else "right", va="top", fontsize=9)
    even = size.copy / size.lora
    if 1 <= even <= MOST:
        place = math.log10(even)
        axes.plot([place, place], [low, math.log10(2 * size.copy)], "--", color=BLUE, lw=0.8)
        text = f" {even:.0f} adapters weigh as much as the base "
        axes.text(place, low + 0.01 * span, text, ha="left" if place < 1.5 else "right", va="bottom", fontsize=9)
    axes.set_title(_title(state, size), fontsize=11, loc="left", x=-0.165, y=1.04)
    return figure


def _empty_axes(figure: Figure) -> Axes:
    """The figure's axes with nothing on them, kept from drawing to drawing. Both scales are logarithms of values."""
    if not figure.axes:
        axes = figure.add_axes((0.11, 0.115, 0.61, 0.785))
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
        axes.set_xticks(range(4), ["1", "10", "100", "1,000"])
        axes.set(xlim=(-0.06, 3.06), xlabel="tasks (logarithmic)", ylabel="bytes on disk (logarithmic)")
    (axes,) = figure.axes
    for artist in (*axes.lines, *axes.texts, *axes.collections):
        artist.remove()
    return axes


def _names(axes: Axes, points: dict[str, tuple[str, int]], x: float, low: float, high: float) -> None:
    """Dots for the chosen number of tasks, and from each a line to what it is and its size, on the right."""
    points = dict(sorted(points.items(), key=lambda point: point[1][1]))
    middles = [math.log10(size) for _, size in points.values()]
    right, line = axes.get_xlim()[1], LINE * (high - low)
    heights = apart(middles, line, low + line, high - line)
    for (name, (_, size)), height in zip(points.items(), heights):
        axes.text(right + 0.1, height, f"{name}  {size_text(size)}", va="center", fontsize=9)
    colours = [colour for colour, _ in points.values()]
    lines = [[(x, y), (right, y), (right + 0.09, height)] for y, height in zip(middles, heights)]
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=1, clip_on=False), autolim=False)
    axes.scatter([x] * len(middles), middles, 50, colours, zorder=3)
    axes.plot([x, x], [middles[0], high], color="black", lw=0.8, zorder=0)


def _title(state: ServingState, size: Sizes) -> str:
    copies, lora = state.tasks * size.copy, size.copy + state.tasks * size.lora
    verdict = "copies take" if lora < copies else "a copy takes only" if state.tasks == 1 else "copies take only"
    setting = f"{_tasks(state.tasks)} on {label(MODELS, state.model)}"
    return f"{setting}: {size_text(lora)} with LoRA where {verdict} {size_text(copies)}"


def readout(state: ServingState) -> str:
    """The same in four lines: sizes, disk, what LoRA saves at most, memory."""
    size, shape, tasks = sizes(state), shape_of(state.model), state.tasks
    copies, one_base = tasks * size.copy, size.copy + tasks * size.lora
    saved, most = copies / one_base, size.copy / size.lora
    lines = [
        f"{label(MODELS, state.model)}: {shape.parameters:,} parameters, {size_text(size.copy)} in "
        f"{label(FORMATS, state.base)}. LoRA with r = {state.r} on {', '.join(targets_of(state))}: "
        f"{size.lora // state.adapters:,} parameters, {size_text(size.lora)} in {label(FORMATS, state.adapters)}.",
        f"{_tasks(tasks)} on disk: {size_text(copies)} as copies of the model, {size_text(one_base)} as one base with "
        f"LoRA adapters, {f'{_digits(saved)} times less' if saved > 1 else 'which saves nothing'}.",
        f"A copy weighs as much as {_digits(most)} LoRA adapters. "
        + (
            f"With that many tasks, they weigh as much. The saving stays under {_digits(most)} times."
            if most > 1
            else "So an adapter of this rank saves nothing, however many tasks there are."
        ),
        f"All in memory, ready to answer: {size_text(copies + tasks * size.buffers)} as copies, "
        f"{size_text(one_base + size.buffers)} as one base with LoRA. {_on_a_t4(size)}",
    ]
    return "\n".join(lines)


def details(state: ServingState) -> str:
    """What folds out below: bottleneck adapters, what a switch moves, what merging costs."""
    size, tasks = sizes(state), state.tasks
    copies, one_base = tasks * size.copy, size.copy + tasks * size.lora
    lines = [
        f"Bottleneck adapters of the nearest size, m = {size.m:,}, have {size.bottleneck // state.adapters:,} "
        f"parameters with the norms: {size_text(size.copy + tasks * size.bottleneck)}.",
        f"To change the task: load another adapter, {size_text(size.lora)}, or another copy, {size_text(size.copy)}.",
        f"Merged, LoRA takes no extra time, but a model then answers one task: no batch mixes them. A merged copy for "
        f"each task takes {size_text(tasks * size.merged)}{_untied(size)}; merging into one base writes "
        f"{size_text(size.rewritten)} at each change of the task. Bottleneck adapters cannot be merged.",
    ]
    if state.model == PAPER.model:
        lines.append(
            f"In units of 10⁹ and 10⁶ bytes: {size.copy / 1e9:,.1f} GB + {tasks:,} × {size.lora / 1e6:,.1f} MB = "
            f"{one_base / 1e9:,.1f} GB, against {copies / 1e9:,.0f} GB. The LoRA paper's footnote 4, for 100 tasks: "
            "350 GB + 100 × 35 MB ≈ 354 GB, against about 35 TB."
        )
    return "\n".join(lines)


def _on_a_t4(size: Sizes) -> str:
    """How many tasks a T4 holds either way."""
    room, held = GPUS[T4], size.copy + size.buffers
    if room < held:
        return "A T4 has no room for one copy."
    adapters = (room - held) // size.lora
    return (
        f"A T4 has room for {room // held:,} copies, or the base with {adapters:,} adapters; activations come on top."
    )


def _untied(size: Sizes) -> str:
    more = size.merged - size.copy
    return f", {size_text(more)} more for each because its head is no longer its embedding" if more else ""


def _digits(value: float) -> str:
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def _tasks(tasks: int) -> str:
    return f"{tasks:,} task{'' if tasks == 1 else 's'}"
