"""The figure of notebook 09: what more questions buy."""

from statistics import fmean

from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import BLUE, VERMILION, new_figure
from lorabook.workbook.kit.tuned import base_loss, tuned_runs

COUNTS = (50, 240, 1500)  # training questions
METHODS = {  # of `tuned_runs`: what a line is called, its colour and marker
    "full fine-tuning": ("full fine-tuning", VERMILION, "s"),
    "r = 16, α = 32": ("LoRA, r = 16", BLUE, "o"),
}


def more_questions(model: str, title: str) -> Figure:
    """The test loss over the number of training questions, a line for each method and a dot for each seed.

    Args:
        model: "pocket" or "smollm2", of the stored result "rank_and_alpha/rules".
        title: what to see.
    """
    figure, axes = new_figure(7.2, 3.4)
    for method, (name, colour, marker) in METHODS.items():
        losses = [tuned_runs(model, count)[method].losses for count in COUNTS]
        means = [fmean(each) for each in losses]
        axes.plot(COUNTS, means, marker + "-", color=colour, lw=2, ms=6, label=name)
        for count, each in zip(COUNTS, losses):
            axes.plot([count] * len(each), each, ".", color=colour, ms=5, alpha=0.7)
    for count, mean in zip(COUNTS, means):
        axes.annotate(f"{mean:.2f}", (count, mean), (0, -15), textcoords="offset points", ha="center", color=BLUE)
    base = base_loss(model)
    axes.axhline(base, color="black", lw=0.8, ls="--")
    axes.annotate(f"before training: {base:.2f}", (COUNTS[-1], base), (0, -12), textcoords="offset points", ha="right")
    axes.set_xscale("log")
    axes.set_xticks(COUNTS, [f"{count:,}" for count in COUNTS])
    axes.minorticks_off()
    axes.set(xlabel="training questions (log scale)", ylabel="test loss (nats per token)", title=title)
    axes.margins(y=0.12)
    axes.legend(frameon=False, loc="lower left")
    return figure
