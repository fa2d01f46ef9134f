"""The figure of notebook 09: what more questions buy."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import BLUE, VERMILION, new_figure

METHODS = {  # of "examples" in the stored result "rank_and_alpha/rules": what a line is called, its colour and marker
    "full": ("full fine-tuning", VERMILION, "s"),
    "r = 16": ("LoRA, r = 16", BLUE, "o"),
}


def more_questions(found: Mapping[str, Any], title: str) -> Figure:
    """The test loss over the number of training questions, a line for each method and a dot for each seed.

    Args:
        found: a model of the stored result "rank_and_alpha/rules": its "base" and its "examples".
        title: what to see.
    """
    figure, axes = new_figure(7.2, 3.4)
    counts = [int(questions) for questions in found["examples"]]
    for method, (name, colour, marker) in METHODS.items():
        losses = [[run["test"] for run in each[method]["runs"]] for each in found["examples"].values()]
        means = [fmean(each) for each in losses]
        axes.plot(counts, means, marker + "-", color=colour, lw=2, ms=6, label=name)
        for count, each in zip(counts, losses):
            axes.plot([count] * len(each), each, ".", color=colour, ms=5, alpha=0.7)
    for count, mean in zip(counts, means):
        axes.annotate(f"{mean:.2f}", (count, mean), (0, -15), textcoords="offset points", ha="center", color=BLUE)
    base = found["base"]["test"]
    axes.axhline(base, color="black", lw=0.8, ls="--")
    axes.annotate(f"before training: {base:.2f}", (counts[-1], base), (0, -12), textcoords="offset points", ha="right")
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.set(xlabel="training questions (log scale)", ylabel="test loss (nats per token)", title=title)
    axes.margins(y=0.12)
    axes.legend(frameon=False, loc="lower left")
    return figure
