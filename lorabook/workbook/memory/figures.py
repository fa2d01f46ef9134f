"""The figures of notebook 02: what a training step keeps in memory, and when."""

from collections.abc import Mapping
from itertools import pairwise

from matplotlib.figure import Figure

from lorabook.memory.dry_run import DryRun
from lorabook.memory.estimate import Estimate
from lorabook.workbook.kit.alive import ACTIVATIONS, COLOURS, alive
from lorabook.workbook.kit.figures import BLUE, GREEN, GREY, ON_LIGHT, ORANGE, VERMILION, new_figure

GIB, SMALL = 2**30, 2**18
COPIES, YELLOW = "fp16 copies of the weights", "#F0E442"


def step_over_time(runs: Mapping[str, DryRun], gpu: tuple[str, int], title: str) -> Figure:
    """The bytes alive during a training step, a line for each dry run, its highest point marked; a GPU's memory.

    Forward pass, backward pass and optimizer step are drawn equally wide, and only what changes the memory.
    """
    figure, axes = new_figure(8.2, 4.0)
    axes.axhline(gpu[1] / GIB, color="black", ls="--", lw=1, zorder=0)
    axes.text(1.98, gpu[1] / GIB - 0.3, f"{gpu[0]}: {gpu[1] / GIB:g} GiB", va="top", ha="right")
    phases = {"forward": "forward pass", "backward": "backward pass", "optimizer": "optimizer step"}
    for (name, run), (colour, style) in zip(runs.items(), ((VERMILION, "-"), (BLUE, "-"), (GREEN, "-."))):
        moments, alive_then = [], []
        for number, phase in enumerate(phases):
            live = run.timeline[phase]
            live = [live[0], *(b for a, b in pairwise(live) if abs(b - a) > SMALL), live[-1]]
            moments += [number + i / (len(live) - 1) for i in range(len(live))]
            alive_then += [value / GIB for value in live]
        axes.plot(moments, alive_then, style, color=colour, lw=1.8, label=name, drawstyle="steps-post")
        peak = max(range(len(moments)), key=lambda i: alive_then[i])
        axes.plot(moments[peak], alive_then[peak], "o", color=colour, ms=6)
        axes.annotate(f"{alive_then[peak]:.1f}", (moments[peak], alive_then[peak]), (0, 5), ha="center",
                      textcoords="offset points", color=colour, fontweight="bold")  # fmt: skip
    for border in (1, 2):
        axes.axvline(border, color=GREY, lw=0.8, zorder=0)
    axes.set_xticks([0.5, 1.5, 2.5], list(phases.values()))
    axes.tick_params(axis="x", length=0)
    axes.set(ylabel="memory (GiB)", title=title, xlim=(0, 3), ylim=(0, 24))
    axes.legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.4))
    return figure


def memory_at_peaks(found: Mapping[str, Estimate], gpu: tuple[str, int], title: str) -> Figure:
    """Two stacked bars for every estimate, after the forward pass and in the optimizer step; a GPU's memory.

    The first of the two is the fullest point of the forward pass, the loss and the start of the backward pass. There,
    mixed precision's copies of the trained weights, 2 bytes a parameter, are drawn apart from the activations.

    Args:
        found: the estimates by the names that stand below their two bars.
        gpu: a GPU's name and its bytes.
        title: what to see.
    """
    figure, axes = new_figure(8.2, 4.2)
    axes.axhline(gpu[1] / GIB, color="black", ls="--", lw=1, zorder=0)
    colours = COLOURS | {COPIES: YELLOW}
    ticks, names = [], []
    for group, (name, each) in enumerate(found.items()):
        early = max(("forward", "loss", "start of backward"), key=lambda moment: each.moments[moment])
        for side, (moment, label) in enumerate(((early, "after\nforward"), ("optimizer step", "optimizer\nstep"))):
            parts = alive(each, moment)
            if moment == early:
                parts[COPIES] = 2 * each.trainable
                parts[ACTIVATIONS] -= parts[COPIES]
            place, bottom = group + 0.4 * side, 0.0
            for part in colours:
                size = parts.get(part, 0) / GIB
                axes.bar(place, size, 0.34, bottom, color=colours[part], edgecolor="none")
                if size > 0.9:
                    axes.text(
                        place, bottom + size / 2, f"{size:.1f}", ha="center", va="center", fontsize=9, color=ON_LIGHT
                    )
                bottom += size
            axes.annotate(f"{bottom:.1f}", (place, bottom), (0, 3), textcoords="offset points", ha="center",
                          fontweight="bold")  # fmt: skip
            ticks.append(place)
            names.append(label)
        axes.text(group + 0.2, -0.19, name, transform=axes.get_xaxis_transform(), ha="center", va="top",
                  fontweight="bold")  # fmt: skip
    axes.text(len(found) - 0.4, gpu[1] / GIB - 0.2, f"{gpu[0]}: {gpu[1] / GIB:g} GiB", ha="right", va="top")
    axes.set_xticks(ticks, names, fontsize=9)
    axes.set(ylabel="memory (GiB)", title=title, xlim=(-0.3, len(found) - 0.3), ylim=(0, 26))
    for line, part in enumerate(part for part in reversed(colours) if part != "buffers"):  # too thin to be seen
        axes.plot([0.62], [0.97 - 0.053 * line], "s", color=colours[part], transform=axes.transAxes)
        axes.text(0.64, 0.97 - 0.053 * line, part, transform=axes.transAxes, fontsize=9, va="center")
    return figure


def kept_by_case(cases: Mapping[str, float], frozen: str) -> Figure:
    """What one block keeps for the backward pass, in KiB per token.

    The grey part is what the case `frozen` keeps, in which nothing is trained.
    """
    figure, axes = new_figure(7.4, 0.9 + 0.5 * len(cases))
    names, floor = list(cases)[::-1], cases[frozen]
    values = [cases[name] for name in names]
    axes.barh(names, [min(floor, value) for value in values], 0.62, color=GREY)
    above = [max(0, value - floor) for value in values]
    axes.barh(names, above, 0.62, [floor] * len(names), color=ORANGE)
    for place, value in enumerate(values):
        axes.text(value, place, f" {value:.1f}", va="center")
    first = max(place for place, value in enumerate(values) if value > floor)
    axes.text(floor / 2, first, "to pass the gradient on", ha="center", va="center", color=ON_LIGHT)
    axes.text((floor + values[first]) / 2, first, "to train the weights", ha="center", va="center", color=ON_LIGHT)
    axes.set_xlim(0, 1.08 * max(values))
    axes.set_title("LoRA keeps as many activations as full fine-tuning")
    axes.set_xlabel("kept for the backward pass (KiB per token)")
    return figure
