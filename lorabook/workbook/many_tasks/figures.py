"""The figures of notebook 07: losses across tasks, what swapping does to a weight, and the time of a forward pass."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import CenteredNorm, LinearSegmentedColormap
from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import BLUE, GREEN, GREY, ORANGE, SKY, VERMILION, label_bar, new_figure

BETTER_OR_WORSE = LinearSegmentedColormap.from_list("better_or_worse", (BLUE, "white", VERMILION))
LINES = ((VERMILION, "-"), (ORANGE, "-."), (BLUE, "--"), (GREEN, ":"))
BARS = (GREY, SKY, BLUE, ORANGE)  # base, LoRA unmerged and merged, bottleneck: as in notebook 03


def cross_losses(base: Mapping[str, float], adapters: Mapping[str, Mapping[str, float]], title: str) -> Figure:
    """Held-out losses of adapters (rows) on the answers of tasks (columns), the base in a row of its own above.

    In a cell stand its loss and, coloured, how far that lies from the base's on the same answers: blue is better,
    vermilion worse.

    Args:
        base: the base's loss by task, in nats per answer token.
        adapters: by adapter, its loss by task.
        title: what to see.
    """
    differences = np.array([[losses[task] - base[task] for task in base] for losses in adapters.values()])
    farthest = float(np.abs(differences).max())
    figure = Figure(figsize=(7.4, 0.75 * len(adapters) + 1.9), layout="constrained", facecolor="white")
    top, main = figure.subplots(2, 1, sharex=True, height_ratios=(1, len(adapters)), gridspec_kw={"hspace": 0.06})
    image = main.imshow(differences, cmap=BETTER_OR_WORSE, norm=CenteredNorm(0, farthest), aspect="auto")
    top.set(facecolor="#eeeeee", ylim=(-0.5, 0.5))
    for column, task in enumerate(base):
        top.text(column, 0, f"{base[task]:.2f}", ha="center", va="center")
        for row, losses in enumerate(adapters.values()):
            difference = losses[task] - base[task]
            colour = "white" if difference < -0.6 * farthest else "black"  # black reads on every orange
            text = f"{losses[task]:.2f}\n({difference:+.2f})".replace("-", "−")
            main.text(column, row, text, ha="center", va="center", color=colour)
    top.set_yticks([0], ["base"])
    main.set_yticks(range(len(adapters)), [f"adapter “{name}”" for name in adapters])
    main.set_xticks(range(len(base)), [f"“{task}” answers" for task in base])
    for axes in (top, main):
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    figure.colorbar(image, ax=[top, main], label="loss − base's (nats per token)")
    figure.suptitle(title, fontsize=11.5)
    return figure


def merge_drift(errors: Mapping[str, Sequence[float]], title: str, unit: str = "one merge's rounding") -> Figure:
    """Error of a weight over swaps, a line a way to swap; at most four. Logarithmic above 0.1, so that 0 has a place.

    Args:
        errors: by the way, the error after swap 1, 2, …, in `unit`.
        title: what to see.
        unit: of the errors.
    """
    figure, axes = new_figure(7.4, 3.8)
    for (name, values), (colour, style) in zip(errors.items(), LINES):
        axes.plot(range(1, len(values) + 1), values, style, color=colour, lw=2, label=name)
    axes.set_yscale("symlog", linthresh=0.1, linscale=0.4)
    axes.set_ylim(-0.02, 3 * max(max(values) for values in errors.values()))
    axes.axhline(1, color="#bbbbbb", lw=0.8, zorder=0)
    axes.set(xlabel="swaps", ylabel=f"error of the weight\n(1 = {unit})", title=title)
    axes.legend(frameon=False, fontsize=9, ncols=2, loc="upper left")
    return figure


def latencies(
    ratios: Mapping[str, Mapping[str, float]], paper: Mapping[str, Mapping[str, float]], title: str
) -> Figure:
    """Time of a forward pass over the base's, a group a batch, a bar a contender, the paper's figures as marks.

    Args:
        ratios: by batch, by contender, time ÷ the base's; the same four contenders in every batch at most.
        paper: of the same names, what the paper reports; any of them may be absent.
        title: what to see.
    """
    figure, axes = new_figure(7.6, 3.6)
    axes.set_ylim(0, 1.35 * max(max(group.values()) for table in (ratios, paper) for group in table.values()))
    width = 0.84 / max(len(contenders) for contenders in ratios.values())
    for group, (batch, contenders) in enumerate(ratios.items()):
        for i, ((name, ratio), colour) in enumerate(zip(contenders.items(), BARS)):
            place = group + (i - (len(contenders) - 1) / 2) * width
            axes.bar(place, ratio, 0.9 * width, color=colour, label=name if group == 0 else None)
            reported = paper.get(batch, {}).get(name)
            label_bar(axes, place, ratio, reported)
            if reported is not None:
                axes.plot([place], [reported], "D", color="black", mfc="white", ms=6)
    axes.plot([], [], "D", color="black", mfc="white", ms=6, label="paper, Table 1")
    axes.axhline(1, color="black", lw=0.8, zorder=0)
    axes.set_xticks(range(len(ratios)), list(ratios))
    axes.set(ylabel="time of a forward pass ÷ base's", title=title)
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="upper left")
    return figure
