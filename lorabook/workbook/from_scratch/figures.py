"""The figures of notebook 01: a layer trained from scratch."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import BLUE, GREY, ORANGE, new_figure


def training(held_out: Mapping[int, tuple[float, float, float]], title: str) -> Figure:
    """The held-out loss by the steps taken: of tokens on docstring lines, of the others, and of all."""
    figure, axes = new_figure(7.2, 3.2)
    looks = (("docstring lines", ORANGE), ("other tokens", BLUE), ("all tokens", GREY))
    of_all = list(held_out.values())[-1][2]
    for (label, colour), losses in zip(looks, zip(*held_out.values())):
        axes.plot(list(held_out), losses, "o-", color=colour, lw=2)
        up = 0 if label == "docstring lines" else 7 if losses[-1] > of_all else -7  # two lines that end close together
        axes.annotate(f"{label}, {losses[0]:.2f} → {losses[-1]:.2f}", (max(held_out), losses[-1]), xytext=(10, up),
                      textcoords="offset points", va="center", color=colour, annotation_clip=False)  # fmt: skip
    axes.set(xlabel="training step", ylabel="held-out loss (nats per token)", title=title)
    axes.set_xlim(-1, 1.02 * max(held_out))
    return figure
