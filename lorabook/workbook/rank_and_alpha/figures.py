"""The figures of notebook 03: loss by learning rate, and recovery by rank and layers."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from lorabook.workbook.kit.figures import BLUE, ORANGE, PURPLE, VERMILION, new_figure
from lorabook.workbook.kit.tuned import Tuned
from lorabook.workbook.rank_and_alpha.valleys import Valley

TIE = 0.002  # nats: rates that are so near to each other are all the best
LOOKS = {1: (PURPLE, "v", 2), 16: (BLUE, "o", 2), 64: (ORANGE, "^", 5)}  # by rank; the last shows below the others


def valleys(found: Mapping[str, Valley], title: str, raced: Mapping[str, float] | None = None) -> Figure:
    """Mean held-out loss over the learning rate, by configuration, with the best rates below; a small dot is a seed.

    Args:
        found: by name.
        title: what to see.
        raced: by name, a learning rate to ring.
    """
    figure, axes = new_figure(7.4, 4.0)
    best: dict[float, float] = {}
    for name, valley in found.items():
        colour, marker, width = LOOKS[valley.r]
        rates, means = list(valley.losses), list(valley.means.values())
        axes.plot(rates, means, marker + "-", color=colour, lw=width, ms=5, label=name)
        for rate, seeds in valley.losses.items():
            axes.plot([rate] * len(seeds), seeds, ".", color=colour, ms=4, alpha=0.6)
        for rate, mean in valley.means.items():
            if mean < valley.best_loss + TIE:
                best[rate] = min(mean, best.get(rate, mean))
        if raced:
            axes.plot(raced[name], valley.means[raced[name]], "o", color=colour, ms=14, mfc="none", mew=1.5)
    axes.margins(y=0.14)
    floor = axes.get_ylim()[0]
    lowest = floor + 0.05 * (axes.get_ylim()[1] - floor)  # where the dotted lines end, above their rates
    for lr, loss in best.items():
        axes.plot([lr, lr], [lowest, loss], color="black", lw=0.8, ls=":")
        axes.annotate(f"{lr:g}", (lr, floor), (0, 3), textcoords="offset points", ha="center", fontsize=9)
    axes.set_ylim(bottom=floor)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.6f}".rstrip("0")))
    axes.set(xlabel="learning rate (log scale)", ylabel="held-out loss (nats per token)", title=title)
    axes.legend(frameon=False, fontsize=9, loc="lower left")
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
    axes.set_ylim(0.6, 1.13)
    axes.annotate("full fine-tuning", (2, 1), (0, -12), textcoords="offset points", fontsize=9)
    axes.set(xlabel="rank r (log scale)", ylabel="recovery", title=title)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure
