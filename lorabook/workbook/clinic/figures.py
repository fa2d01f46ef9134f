"""The figure of notebook 08: runs over their steps, each beside the same run without its fault."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lorabook.workbook.clinic.cases import StoredRun
from lorabook.workbook.kit.figures import BLUE, GREY, VERMILION, new_panes


def runs(symptoms: Mapping[int, str], broken: Mapping[int, StoredRun], fixed: Mapping[int, StoredRun]) -> Figure:
    """Held-out losses side by side, the first and the last written; in the first panel the training losses, too.

    Args:
        symptoms: what stands above each panel, by the number of its case.
        broken, fixed: the run of each case with its fault and without it.
    """
    figure, panes = new_panes(7.8, 2.7, len(symptoms))
    for axes, (case, symptom) in zip(panes, symptoms.items()):
        for run, colour in ((broken[case].history, VERMILION), (fixed[case].history, BLUE)):
            axes.plot(*zip(*run.held_out), "D-", color=colour, ms=4, lw=1.5)
            _write(axes, run.held_out[-1], 6, "left", colour)
            if axes is panes[0]:
                axes.plot([step.step for step in run.steps], run.losses, color=colour, lw=1, alpha=0.5)
        start = broken[case].history.held_out[0]  # of both runs
        axes.plot(*start, "D", color=GREY, ms=4, zorder=3)
        _write(axes, start, -6, "right", GREY)
        axes.set_title(f"{case}: {symptom}", fontsize=9)
        axes.set_xlabel("optimizer step")
        steps = len(broken[case].history.steps)
        axes.set_xlim(-0.33 * steps, 1.3 * steps)
        axes.set_xticks([0, steps // 2, steps])
    panes[0].set_ylabel("loss per answer token")
    entries = [
        Line2D([], [], color=VERMILION, lw=5, label="broken"),
        Line2D([], [], color=BLUE, lw=5, label="fixed"),
        Line2D([], [], color="black", marker="D", ms=4, lw=1.5, label="held-out loss"),
        Line2D([], [], color="black", lw=1, alpha=0.5, label="training loss"),
    ]
    figure.legend(handles=entries, frameon=False, fontsize=9, ncols=4, loc="outside lower center")
    figure.suptitle("Each run has one fault. Without it, the model learns.", fontsize=11, weight="bold")
    return figure


def _write(axes: Axes, point: tuple[int, float], shift: int, align: str, colour: str) -> None:
    """The loss of a point beside it."""
    beside = {"textcoords": "offset points", "ha": align, "va": "center", "fontsize": 9, "color": colour}
    axes.annotate(f"{point[1]:.2f}", point, (shift, 0), **beside)
