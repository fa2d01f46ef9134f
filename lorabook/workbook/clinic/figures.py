"""The figures of notebook 08: the losses of an answer's tokens, and runs beside the same runs without their faults."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lorabook.workbook.clinic.cases import StoredRun
from lorabook.workbook.kit.figures import BLUE, GREY, VERMILION, new_figure, new_panes


def token_losses(tokens: Sequence[str], losses: Mapping[str, Sequence[float]], title: str) -> Figure:
    """The loss of each token in two models, as bars side by side; those of the last token are written.

    Args:
        tokens: what stands below the bars.
        losses: by the name of the model, one for each token.
        title: what to see.
    """
    figure, axes = new_figure(7.2, 2.6)
    places = range(len(tokens))
    for (name, of_tokens), shift, colour in zip(losses.items(), (-0.2, 0.2), (VERMILION, BLUE)):
        axes.bar([place + shift for place in places], of_tokens, 0.4, color=colour, label=name)
        last = (len(tokens) - 1 + shift, of_tokens[-1])
        axes.annotate(f"{last[1]:.1f}", last, (0, 2), textcoords="offset points", ha="center", fontsize=9, color=colour)
    axes.set_xticks(places, [token.strip() for token in tokens])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("loss of the token")
    axes.set_title(title, fontsize=11, weight="bold")
    axes.legend(frameon=False, loc="upper left")
    return figure


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
    figure.suptitle("Each broken run has one fault. Without it, the model learns.", fontsize=11, weight="bold")
    return figure


def _write(axes: Axes, point: tuple[int, float], shift: int, align: str, colour: str) -> None:
    """The loss of a point beside it."""
    beside = {"textcoords": "offset points", "ha": align, "va": "center", "fontsize": 9, "color": colour}
    axes.annotate(f"{point[1]:.2f}", point, (shift, 0), **beside)
