"""The figures of notebook 03: learning rates, and recovery by rank."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lorabook.workbook.kit.figures import (
    BLUE,
    GREEN,
    ORANGE,
    SKY,
    VERMILION,
    new_figure,
    new_panes,
)
from lorabook.workbook.kit.tuned import Tuned

LOOKS = {
    "full": ("black", "D"),
    "r = 1": (SKY, "v"),
    "r = 4": (GREEN, "s"),
    "r = 16": (BLUE, "o"),
    "r = 64": (ORANGE, "^"),
}


def rate_curves(panels: Mapping[str, Mapping[str, Tuned]], title: str) -> Figure:
    """Validation loss over the learning rate, one curve for each rank and for full fine-tuning, its best rate filled.

    Args:
        panels: by its title, the runs of `tuned_runs`; of LoRA, those with α = 32 are drawn.
        title: what to see.
    """
    figure, panes = new_panes(9.0, 3.7, len(panels))
    for axes, (name, runs) in zip(panes, panels.items()):
        best: set[float] = set()
        for label, (colour, marker) in LOOKS.items():
            run = runs.get("full fine-tuning" if label == "full" else f"{label}, α = 32")
            if run:
                axes.plot(*zip(*sorted(run.rates.items())), marker + "-", color=colour, ms=5, mfc="none", label=label)
                axes.plot(run.lr, run.rates[run.lr], marker, color=colour, ms=7)
                best.add(run.lr)
        axes.set_xscale("log")
        axes.set_xticks(sorted(best), [f"{lr:g}" for lr in sorted(best)])
        axes.minorticks_off()
        axes.set_xlabel("learning rate (log scale)")
        axes.set_title(name, fontsize=10)
    panes[0].set_ylabel("validation loss (nats per token)")
    panes[-1].legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.suptitle(title, fontsize=11.5)
    return figure


def recovery_by_rank(lines: Mapping[str, Mapping[str, Tuned]], title: str) -> Figure:
    """Recovery over the rank, a colour for each model, whose second line is dashed. A small dot is a seed.

    Args:
        lines: by name, "MODEL, … questions", the runs of `tuned_runs`; of LoRA, those with α = 32 are drawn.
        title: what to see.
    """
    figure, axes = new_figure(7.6, 3.6)
    axes.axhline(1, color="black", lw=0.8)
    colours: dict[str, str] = {}
    ranks: set[int] = set()
    for name, runs in lines.items():
        drawn = [(run.r, run) for each, run in runs.items() if run.r and each == f"r = {run.r}, α = 32"]
        model = name.partition(",")[0]
        dashed = model in colours
        colour = colours.setdefault(model, (BLUE, VERMILION)[len(colours) % 2])
        means = [(r, run.recovery) for r, run in drawn]
        axes.plot(*zip(*means), "--s" if dashed else "-o", color=colour, lw=2, ms=6, mfc="none", label=name)
        for r, run in drawn:
            axes.plot([r] * len(run.recoveries), run.recoveries, ".", color=colour, ms=4)
            ranks.add(r)
    axes.set_xscale("log")
    axes.set_xticks(sorted(ranks), [str(r) for r in sorted(ranks)])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.margins(y=0.12)
    axes.annotate("full fine-tuning", (min(ranks), 1), (0, 4), textcoords="offset points", fontsize=9)
    axes.set(xlabel="rank r (log scale)", ylabel="recovery", title=title)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure
