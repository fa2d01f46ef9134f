"""The figures of notebook 03: loss by learning rate, and recovery by rank and layers."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from lorabook.workbook.kit.figures import BLUE, ORANGE, PURPLE, VERMILION, new_figure
from lorabook.workbook.kit.tuned import Tuned
from lorabook.workbook.rank_and_alpha.valleys import Valley

TIE = 0.002  # nats: rates that are so near to each other are all the best
LOOKS = {1: (PURPLE, "v", 2), 16: (BLUE, "o", 2), 64: (ORANGE, "^", 5)}  # by rank; the last shows below the others


def valleys(found: Mapping[str, Valley], title: str, before: float, ringed: float | None = None) -> Figure:
    """Mean held-out loss over the learning rate, by configuration, with the best rates below; a small dot is a seed.

    Args:
        found: by name. What is far above `before` is left out of the picture; where it is ringed, its value is written.
        title: what to see.
        before: the loss before training.
        ringed: a learning rate at which to ring every configuration.
    """
    figure, axes = new_figure(7.4, 4.0)
    best: dict[float, float] = {}
    high, ceiling = before + 0.05, before + 0.1  # where rings that are too high stand, and the end of the axis
    axes.axhline(before, color="black", lw=0.8)
    axes.annotate("before training", (0.995, before), (0, 3), axes.get_yaxis_transform(),
                  textcoords="offset points", ha="right", fontsize=9)  # fmt: skip
    for name, valley in found.items():
        colour, marker, width = LOOKS[valley.r]
        rates, means = list(valley.losses), list(valley.means.values())
        axes.plot(rates, means, marker + "-", color=colour, lw=width, ms=5, label=name)
        for rate, seeds in valley.losses.items():
            axes.plot([rate] * len(seeds), seeds, ".", color=colour, ms=4, alpha=0.6)
        for rate, mean in valley.means.items():
            if mean < valley.best_loss + TIE:
                best[rate] = min(mean, best.get(rate, mean))
        if ringed:
            mean = valley.means[ringed]
            axes.plot(ringed, min(mean, high), "o", color=colour, ms=14, mfc="none", mew=1.5)
            if mean > high:
                axes.annotate(f"↑ {mean:.1f}", (ringed, high), (11, -4), textcoords="offset points", color=colour)
    lowest = min(valley.best_loss for valley in found.values())
    floor = lowest - 0.14 * (ceiling - lowest)
    line = floor + 0.05 * (ceiling - floor)  # where the dotted lines end, above their rates
    for lr, loss in best.items():
        axes.plot([lr, lr], [line, loss], color="black", lw=0.8, ls=":")
        axes.annotate(f"{lr:g}", (lr, floor), (0, 3), textcoords="offset points", ha="center", fontsize=9)
    axes.set_ylim(floor, ceiling)
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
