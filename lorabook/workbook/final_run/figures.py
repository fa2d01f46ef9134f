"""The figures of notebook 09: where the loss of an answer sits, and what more questions buy."""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lorabook.workbook.kit.figures import BLUE, ON_LIGHT, VERMILION, new_figure
from lorabook.workbook.kit.tuned import base_loss, question_counts, tuned_runs

LOW, HIGH, DARKEST = np.array(to_rgb("#E4EDF3")), np.array(to_rgb("#EE8A3C")), 5.0  # backgrounds of 0 and of 5 nats
WRITTEN, END = 0.5, "<|endoftext|>"
METHODS = {  # of `tuned_runs`: what a line is called, its colour and marker
    "full fine-tuning": ("full fine-tuning", VERMILION, "s"),
    "r = 16, α = 32": ("LoRA, r = 16", BLUE, "o"),
}


class Answer(NamedTuple):
    """A question, its right answer as tokens with their losses, and what the model answers."""

    question: str
    tokens: Sequence[str]
    losses: Sequence[float]
    written: str


def by_token(answers: Sequence[Answer], title: str) -> Figure:
    """Answers as text, a line each, with every token on a background that is more orange the higher its loss.

    Losses of at least WRITTEN nats are written below their tokens, and the model's own answers to the right.
    """
    figure, axes = new_figure(7.4, 0.85 + 0.42 * len(answers))
    # in characters of the tokens' font, which are wider than those of the questions
    start = 0.72 * max(len(answer.question) for answer in answers) + 1
    end = start + max(len("".join(answer.tokens).replace(END, "END")) for answer in answers) + 1
    for x, heading in ((0, "question"), (start, "right answer, by token"), (end, "the model's answer")):
        axes.text(x, -0.85, heading, va="center", fontsize=9, style="italic")
    for y, (question, tokens, losses, written) in enumerate(answers):
        axes.text(0, y, question, va="center", fontsize=9)
        x = start
        for token, loss in zip(tokens, losses):
            text = "END" if token == END else token
            middle = x + len(text) / 2
            shade = LOW + (HIGH - LOW) * min(loss / DARKEST, 1)
            axes.add_patch(Rectangle((x + 0.06, y - 0.28), len(text) - 0.12, 0.56, facecolor=shade))
            axes.text(middle, y, text.strip(), color=ON_LIGHT, ha="center", va="center", family="monospace", fontsize=9)
            if loss >= WRITTEN:
                axes.text(middle, y + 0.47, f"{loss:.1f}", ha="center", va="center", fontsize=8)
            x += len(text)
        right = written == "".join(tokens).removesuffix(END)
        shown = f"{written} {'✓' if right else '✗'}"
        axes.text(end, y, shown, va="center", family="monospace", fontsize=9)
    axes.set(xlim=(0, end + max(len(answer.written) for answer in answers) + 2), ylim=(len(answers) - 0.3, -1.2))
    axes.set_title(title, fontsize=11, weight="bold")
    axes.axis("off")
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
