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
    """The drop in test loss over the number of training questions, a line for each method and a dot for each seed.

    Args:
        model: "pocket" or "smollm2", of the stored result "rank_and_alpha/rules".
        title: what to see.
    """
    figure, axes = new_figure(7.2, 3.4)
    base = base_loss(model)
    drops = {method: [[base - x for x in tuned_runs(model, n)[method].losses] for n in COUNTS] for method in METHODS}
    highest = [max(map(fmean, each)) for each in zip(*drops.values())]
    for method, (name, colour, marker) in METHODS.items():
        means = [fmean(each) for each in drops[method]]
        axes.plot(COUNTS, means, marker + "-", color=colour, lw=2, ms=6, label=name)
        for count, each, mean, top in zip(COUNTS, drops[method], means, highest):
            axes.plot([count] * len(each), each, ".", color=colour, ms=5, alpha=0.7)
            place = (0, 9 if mean == top else -16)
            axes.annotate(f"{mean:.3f}", (count, mean), place, textcoords="offset points", ha="center", color=colour)
    axes.set_xscale("log")
    axes.set_xticks(COUNTS, [f"{count:,}" for count in COUNTS])
    axes.minorticks_off()
    axes.set(xlabel="training questions (log scale)", ylabel="drop in test loss\n(nats per answer token)", title=title)
    axes.set_ylim(0, 1.2 * max(highest))
    axes.margins(x=0.08)
    axes.legend(frameon=False, loc="lower right")
    return figure
