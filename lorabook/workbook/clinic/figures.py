"""The figure of notebook 08: the losses of an answer's last tokens."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import BLUE, VERMILION, new_figure


def last_tokens(tokens: Sequence[str], broken: Sequence[float], healthy: Sequence[float]) -> Figure:
    """The loss of each of an answer's last tokens in two runs, as bars side by side; those of the last are written."""
    figure, axes = new_figure(7.2, 2.6)
    places = range(len(tokens))
    for losses, name, shift, colour in ((broken, "broken run", -0.2, VERMILION), (healthy, "healthy run", 0.2, BLUE)):
        heights = [float(loss) for loss in losses]
        axes.bar([place + shift for place in places], heights, 0.4, color=colour, label=name)
        end = (len(tokens) - 1 + shift, heights[-1])
        beside = {"textcoords": "offset points", "ha": "center", "fontsize": 9, "color": colour}
        axes.annotate(f"{heights[-1]:.1f}", end, (0, 3), **beside)
    axes.set_xticks(places, [token.strip() for token in tokens])
    axes.tick_params(axis="x", length=0)
    axes.margins(y=0.1)
    axes.set_ylabel("loss of the token")
    axes.set_title("Of these labels, only the end token tells the runs apart", fontsize=11, weight="bold")
    axes.legend(frameon=False, loc="upper left")
    return figure
