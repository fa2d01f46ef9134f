"""The figures of notebook 08: training losses beside those of the healthy run, and the losses of an answer's end."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import BLUE, VERMILION, new_figure, new_panes


def last_tokens(tokens: Sequence[str], broken: Sequence[float], healthy: Sequence[float]) -> Figure:
    """The loss of each of an answer's last tokens in two runs, as bars side by side; those of the last are written."""
    figure, axes = new_figure(7.2, 2.6)
    places = range(len(tokens))
    for losses, name, shift, colour in ((broken, "broken run", -0.2, VERMILION), (healthy, "healthy run", 0.2, BLUE)):
        heights = [float(loss) for loss in losses]
        axes.bar([place + shift for place in places], heights, 0.4, color=colour, label=name)
        _write(axes, (len(tokens) - 1 + shift, heights[-1]), (0, 6), "center", f"{heights[-1]:.1f}", colour)
    axes.set_xticks(places, [token.strip() for token in tokens])
    axes.tick_params(axis="x", length=0)
    axes.margins(y=0.1)
    axes.set_ylabel("loss of the token")
    axes.set_title("Of these labels, only the end token tells the runs apart", fontsize=11, weight="bold")
    axes.legend(frameon=False, loc="upper left")
    return figure


def training_losses(panels: Sequence[Mapping[str, Sequence[tuple[float, float]]]], title: str) -> Figure:
    """The loss of every step of two runs, in one or more panels side by side.

    Args:
        panels: by the name of the run, the loss and the gradient's norm of each step; the healthy run comes second.
        title: what to see.
    """
    if len(panels) == 1:
        figure, axes = new_figure(7.2, 2.6)
        panes = [axes]
    else:
        figure, panes = new_panes(7.6, 2.6, len(panels))
    for axes, logs in zip(panes, panels):
        longest = max(len(log) for log in logs.values())
        for (name, log), colour, shift in zip(logs.items(), (VERMILION, BLUE), (4, -1)):
            losses = [loss for loss, _ in log]
            axes.plot(range(1, len(losses) + 1), losses, color=colour, lw=1.5)
            _write(axes, (len(losses), losses[-1]), (6, shift), "left", name, colour)
        axes.set_xlim(0, 1.5 * longest)
        axes.set_xticks(range(0, longest + 1, 4))
        axes.set_xlabel("optimizer step")
    panes[0].set_ylabel("training loss")
    figure.suptitle(title, fontsize=11, weight="bold")
    return figure


def _write(
    axes: Axes, point: tuple[float, float], shift: tuple[float, float], align: str, text: str, colour: str
) -> None:
    """`text` beside a point."""
    beside = {"textcoords": "offset points", "ha": align, "va": "center", "fontsize": 9, "color": colour}
    axes.annotate(text, point, shift, **beside)
