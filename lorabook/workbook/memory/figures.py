"""The figures of notebook 02: what a training step keeps in memory, and when."""

from collections.abc import Mapping
from itertools import pairwise
from statistics import median

import numpy as np
from matplotlib.figure import Figure

from lorabook.memory.dry_run import DryRun
from lorabook.memory.gpus import GPUS
from lorabook.workbook.kit.figures import BLUE, GREEN, GREY, VERMILION, new_figure

GIB, SMALL = 2**30, 2**18
PHASES = {"forward": "forward pass", "backward": "backward pass", "optimizer": "optimizer step"}
WINDOWS = 60  # in which the memory of a phase is smoothed


def step_over_time(runs: Mapping[str, DryRun], gpu: str, title: str) -> Figure:
    """The bytes alive during a training step, a line for each dry run, its highest point marked; a GPU's memory.

    Forward pass, backward pass and optimizer step are drawn equally wide, and only what changes the memory. The first
    two are smoothed by medians, which leaves out what is there for a few operations only.
    """
    figure, axes = new_figure(8.2, 4.0)
    room = GPUS[gpu] / GIB
    axes.axhline(room, color="black", ls="--", lw=1, zorder=0)
    axes.text(1.98, room - 0.3, f"{gpu}: {room:g} GiB", va="top", ha="right")
    looks = ((VERMILION, "-", 6, "left"), (BLUE, "-", 6, "right"), (GREEN, "-.", -16, "left"))
    for (name, run), (colour, style, above, side) in zip(runs.items(), looks):
        moments, alive_then = _line(run)
        axes.plot(moments, alive_then, style, color=colour, lw=1.8, label=name, drawstyle="steps-post")
        highest = [moment for moment, value in zip(moments, alive_then) if value == max(alive_then)]
        peak, where = run.peak / GIB, highest[len(highest) // 2]
        axes.plot(where, peak, "o", color=colour, ms=6)
        axes.annotate(f"{name}: {peak:.1f} GiB", (where, peak), (0, above), ha=side, textcoords="offset points",
                      color=colour, fontweight="bold")  # fmt: skip
    for border in (1, 2):
        axes.axvline(border, color=GREY, lw=0.8, zorder=0)
    axes.text(0.03, 12.3, "no gradients yet", va="top", fontsize=9)
    axes.text(0.06, 19.6, "activations and 16-bit\ncopies of the weights", va="center", fontsize=9)
    axes.text(2.375, 19.2, "work-\nspace", ha="center", va="center", fontsize=9)
    axes.text(2.73, 13.4, "gradients\nreset", ha="right", va="center", fontsize=9)
    axes.set_xticks([0.5, 1.5, 2.5], list(PHASES.values()))
    axes.tick_params(axis="x", length=0)
    axes.set(ylabel="memory (GiB)", title=title, xlim=(0, 3), ylim=(0, 24.5))
    return figure


def _line(run: DryRun) -> tuple[list[float], list[float]]:
    """The moments of a step, from 0 to 3, and the GiB alive at each."""
    moments, alive_then = [], []
    for number, phase in enumerate(PHASES):
        live = run.timeline[phase]
        live = [live[0], *(b for a, b in pairwise(live) if abs(b - a) > SMALL), live[-1]]
        if phase != "optimizer":
            windows = np.array_split(live, min(WINDOWS, len(live)))
            live = [live[0], *map(median, windows), live[-1]]
        moments += [number + i / (len(live) - 1) for i in range(len(live))]
        alive_then += [value / GIB for value in live]
    return moments, alive_then
