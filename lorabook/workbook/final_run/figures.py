"""The figures of notebook 09: where the loss of an answer sits, and what more questions buy."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import BLUE, GREY, VERMILION, new_figure, new_panes
from lorabook.workbook.kit.tuned import base_loss, question_counts, tuned_runs

METHODS = {  # of `tuned_runs`: what a line is called, its colour and marker
    "full fine-tuning": ("full fine-tuning", VERMILION, "s"),
    "r = 16, α = 32": ("LoRA, r = 16", BLUE, "o"),
}


def token_losses(losses: Mapping[str, Sequence[tuple[str, float]]], title: str, flag_at: int, choices: int) -> Figure:
    """The loss of each token of an answer as a bar, from top to bottom; a pane for each model.

    Args:
        losses: by the model's name, each token as text with its loss.
        title: what to see.
        flag_at: the index of the token at which a line marks what a random guess costs.
        choices: the guess is one among so many.
    """
    figure, panes = new_panes(7.6, 3.4, len(losses))
    guess = math.log(choices)
    most = max(len(tokens) for tokens in losses.values())  # rows of the same height in all panes
    highest = max(guess, *(loss for tokens in losses.values() for _, loss in tokens))
    for axes, (name, tokens) in zip(panes, losses.items()):
        values = [loss for _, loss in tokens]
        axes.barh(range(len(tokens)), values, color=BLUE)
        for y, loss in enumerate(values):
            end = guess if 0.8 * guess < loss < guess else loss  # so that the line crosses no number
            axes.annotate(f"{loss:.2f}", (end, y), (4, 0), textcoords="offset points", va="center", fontsize=9)
        axes.plot([guess, guess], [flag_at - 0.6, flag_at + 0.6], color=GREY, ls="--", lw=1.5)
        axes.text(guess, flag_at + 0.8, "random guess", color=GREY, va="top", ha="center", fontsize=9)
        axes.set_yticks(range(len(tokens)), [repr(text) for text, _ in tokens], family="monospace")
        axes.set(xlabel="loss", title=name, xlim=(0, 1.35 * highest), ylim=(most - 0.5, -0.5))
    figure.suptitle(title, fontsize=11, weight="bold")
    return figure


def more_questions(model: str, title: str) -> Figure:
    """The drop in test loss over the number of training questions, a line for each method and a dot for each seed.

    The points of a single seed are hollow.

    Args:
        model: "pocket" or "smollm2", of the stored result "rank_and_alpha/rules".
        title: what to see.
    """
    figure, axes = new_figure(7.2, 3.4)
    base, counts = base_loss(model), question_counts(model)
    drops: dict[str, dict[int, list[float]]] = {method: {} for method in METHODS}
    for count in counts:
        runs = tuned_runs(model, count)
        for method in METHODS:
            drops[method][count] = [base - loss for loss in runs[method].losses]
    highest = {n: max(fmean(each[n]) for each in drops.values()) for n in counts}
    for method, (name, colour, marker) in METHODS.items():
        means = {count: fmean(each) for count, each in drops[method].items()}
        axes.plot(list(means), list(means.values()), marker + "-", color=colour, lw=2, ms=6, label=name)
        for count, mean in means.items():
            each = drops[method][count]
            axes.plot([count] * len(each), each, ".", color=colour, ms=5, alpha=0.7)
            if len(each) == 1:
                axes.plot(count, mean, marker, color=colour, mfc="white", ms=7, mew=2)
            place = (0, 9 if mean == highest[count] else -16)
            axes.annotate(f"{mean:.3f}", (count, mean), place, textcoords="offset points", ha="center", color=colour)
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.set(xlabel="training questions (log scale)", ylabel="drop in test loss\nper answer token", title=title)
    axes.set_ylim(0, 1.2 * max(highest.values()))
    axes.margins(x=0.08)
    axes.legend(frameon=False, loc="lower right")
    return figure
