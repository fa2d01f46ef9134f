"""The figures of notebook 01: four starts of A and B, and what three ways to write the same line cost."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import BLUE, GREEN, GREY, ORANGE, VERMILION, new_figure, new_panes

MIB = 2**20
STARTS = (BLUE, GREEN, VERMILION, ORANGE)
STYLES = ("-", "--", "-", ":")
COLOURS = (GREY, BLUE, VERMILION)


def starts(losses: Mapping[str, Sequence[float]]) -> Figure:
    """Training loss over steps, one line a start, named in a legend in the order given; at most four starts."""
    figure, axes = new_figure(7.2, 3.6)
    for (name, values), colour, style in zip(losses.items(), STARTS, STYLES):
        axes.plot(range(len(values)), values, style, color=colour, lw=2, label=name)
    axes.set_xlim(0, max(len(values) for values in losses.values()) - 1)
    axes.set_ylim(bottom=0)
    axes.set(xlabel="training step", ylabel="mean squared error", title="With both factors zero the loss never moves")
    axes.legend(frameon=False)
    return figure


def spellings(saved: Mapping[str, Mapping[str, int]]) -> Figure:
    """One bar a spelling: the bytes that autograd saves, tensor by tensor, in MiB.

    Args:
        saved: by the code of the spelling, the bytes of every saved tensor by its name. A name has one colour in all
            bars; at most three names.
    """
    figure, axes = new_figure(7.6, 3.0)
    names = list(dict.fromkeys(name for tensors in saved.values() for name in tensors))
    colours = dict(zip(names, COLOURS, strict=False))
    for row, tensors in enumerate(saved.values()):
        left = 0.0
        for name in names:
            size = tensors.get(name, 0) / MIB
            axes.barh(row, size, left=left, height=0.55, color=colours[name])
            left += size
        axes.annotate(f" {left:.2f} MiB", (left, row), va="center", fontsize=9)
    axes.set_yticks(range(len(saved)), list(saved), family="monospace", fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.18 * max(sum(tensors.values()) for tensors in saved.values()) / MIB)
    axes.set(xlabel="saved for the backward pass (MiB)", title="Whoever forms BA keeps a dense matrix")
    handles = [axes.barh([0], [0], color=colours[name], label=name) for name in names]
    axes.legend(handles=handles, frameon=False, fontsize=9, loc="upper right")
    return figure


def break_even(
    tokens: Sequence[int],
    forward: Mapping[str, Sequence[float]],
    step: Mapping[str, Sequence[float]],
    crossing: float,
) -> Figure:
    """Operations on top of the frozen layer's own over tokens: in the forward pass alone, and in the whole step.

    Args:
        forward, step: by the name of the spelling, operations for each of `tokens`; the same names in both.
        crossing: tokens at which both cost the same forward, marked in the left panel.
    """
    figure, (left, right) = new_panes(8.0, 3.6, sharey=True)
    _lines(left, tokens, forward, "forward pass alone")
    _lines(right, tokens, step, "forward and backward")
    left.axvline(crossing, color=GREY, lw=1)
    left.annotate(f"{crossing:,.0f} tokens", (crossing, 0.03), xycoords=("data", "axes fraction"), xytext=(4, 0),
                  textcoords="offset points", fontsize=9, color="#555555")  # fmt: skip
    left.set_ylabel("operations beside the frozen layer's")
    left.legend(frameon=False, fontsize=9, loc="upper left")
    figure.suptitle("Forming BA can win the forward pass; it does not win the step")
    return figure


def _lines(axes: Axes, tokens: Sequence[int], values: Mapping[str, Sequence[float]], title: str) -> None:
    for (name, line), colour, style in zip(values.items(), (BLUE, VERMILION), ("-", "--")):
        axes.plot(tokens, line, style, color=colour, lw=2, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("tokens")
    axes.set_title(title, fontsize=10)
