"""The figures of notebook 08: a run beside the same run without its fault, and the losses of an answer's end."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lorabook.workbook.clinic.cases import StoredRun
from lorabook.workbook.kit.figures import BLUE, GREY, VERMILION, new_figure, new_panes


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


def run(broken: StoredRun, fixed: StoredRun) -> Figure:
    """The held-out loss of a run with a fault and of the same run without it, and the broken run's training loss."""
    figure, axes = new_figure(6.0, 2.6)
    steps, losses = len(broken.history.steps), broken.history.losses
    axes.plot(range(1, steps + 1), losses, color=VERMILION, lw=1, alpha=0.6)
    _write(axes, (steps, losses[-1]), (8, 0), "left", "broken, training", VERMILION)
    _held_out(axes, broken, fixed, "{:.2f}  {}, held-out")
    axes.set_xlim(-0.15 * steps, 1.55 * steps)
    axes.set_ylabel("loss per answer token")
    axes.set_title("With the fault, only the training loss drops", fontsize=11, weight="bold")
    return figure


def two_runs(runs: Mapping[int, tuple[StoredRun, StoredRun]], symptoms: Mapping[int, str]) -> Figure:
    """The held-out losses of two runs, each with its fault and without it, side by side; what both are: by case."""
    figure, panes = new_panes(7.2, 2.6)
    for axes, (case, (broken, fixed)) in zip(panes, runs.items()):
        _held_out(axes, broken, fixed, "{:.2f}  {}")
        steps = len(broken.history.steps)
        axes.set_xlim(-0.25 * steps, 1.5 * steps)
        axes.set_title(f"Case {case}: {symptoms[case]}", fontsize=11, weight="bold")
    panes[0].set_ylabel("held-out loss")
    return figure


def _held_out(axes: Axes, broken: StoredRun, fixed: StoredRun, label: str) -> None:
    for stored, name, colour in ((broken, "broken", VERMILION), (fixed, "fixed", BLUE)):
        held_out = stored.history.held_out
        axes.plot(*zip(*held_out), "D-", color=colour, ms=4, lw=1.5)
        _write(axes, held_out[-1], (8, 0), "left", label.format(held_out[-1][1], name), colour)
    start = broken.history.held_out[0]  # of both runs
    axes.plot(*start, "D", color=GREY, ms=4, zorder=3)
    _write(axes, start, (-6, 0), "right", f"{start[1]:.2f}", GREY)
    steps = len(broken.history.steps)
    axes.set_xticks([0, steps // 2, steps])
    axes.set_xlabel("optimizer step")


def _write(
    axes: Axes, point: tuple[float, float], shift: tuple[float, float], align: str, text: str, colour: str
) -> None:
    """`text` beside a point."""
    beside = {"textcoords": "offset points", "ha": align, "va": "center", "fontsize": 9, "color": colour}
    axes.annotate(text, point, shift, **beside)
