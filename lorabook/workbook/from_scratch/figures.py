"""The figures of notebook 01: a layer trained from scratch."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import BLUE, GREY, ORANGE, new_figure, new_panes

BROWN = "#8a5a00"  # orange, dark enough for text


def training(held_out: Mapping[int, tuple[float, float, float]], title: str) -> Figure:
    """The held-out loss by the steps taken: of tokens on docstring lines, of the others, and of all."""
    figure, axes = new_figure(7.2, 3.2)
    looks = (("docstring lines", ORANGE, BROWN), ("other tokens", BLUE, BLUE), ("all tokens", GREY, "#555555"))
    of_all = list(held_out.values())[-1][2]
    for (label, colour, text), losses in zip(looks, zip(*held_out.values())):
        axes.plot(list(held_out), losses, "o-", color=colour, lw=2)
        up = 0 if label == "docstring lines" else 7 if losses[-1] > of_all else -7  # two lines that end close together
        axes.annotate(f"{label}, {losses[0]:.2f} → {losses[-1]:.2f}", (max(held_out), losses[-1]), xytext=(10, up),
                      textcoords="offset points", va="center", color=text, annotation_clip=False)  # fmt: skip
    axes.set(xlabel="training step", ylabel="held-out loss (nats per token)", title=title)
    axes.set_xlim(-1, 1.02 * max(held_out))
    return figure


def which_factor(found: Mapping[str, Any]) -> Figure:
    """The held-out error of every seed for LoRA with B zero and with A zero at the start.

    Args:
        found: the stored result "from_scratch/which_factor".
    """
    figure, panes = new_panes(7.6, 3.2)
    for axes, part, label in zip(panes, ("layer", "model"), ("relative squared error", "held-out loss (nats)")):
        for place, (start, colour) in enumerate((("B zero", BLUE), ("A zero", ORANGE))):
            values = found[part][start]["test"]
            mean = sum(values) / len(values)
            jitter = [place + 0.24 * (i / (len(values) - 1) - 0.5) for i in range(len(values))]
            axes.plot(jitter, values, "o", color=colour, ms=3.5, alpha=0.7)
            axes.plot([place - 0.2, place + 0.2], [mean, mean], color="black", lw=1.5)
            axes.annotate(f"{mean:.3f}", (place + 0.22, mean), xytext=(3, 0), textcoords="offset points", va="center")
        axes.set_xticks([0, 1], ["B zero", "A zero"])
        axes.set(xlim=(-0.4, 1.6), ylabel=label, title={"layer": "one layer", "model": "whole model"}[part])
    panes[0].set_ylim(0, 1.1 * max(found["layer"]["A zero"]["test"]))
    figure.suptitle("One layer: B at zero is better. The whole model: no clear difference")
    return figure
