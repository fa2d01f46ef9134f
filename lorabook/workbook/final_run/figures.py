"""The figure of notebook 09: what more questions buy."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from lorabook.workbook.kit.figures import BLUE, ORANGE, new_figure


def learning_curve(runs: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """The held-out loss over the questions seen, a line for each seed.

    Args:
        runs: of the stored result "final_run/smollm2_run": its steps, its questions, and [step, held-out loss] pairs.
        title: what to see.
    """
    figure, axes = new_figure(7.2, 3.2)
    for run, colour, marker in zip(runs, (BLUE, ORANGE), "os"):
        steps, losses = zip(*run["held_out"])
        seen = [run["questions"] * step / run["steps"] for step in steps]
        axes.plot(seen, losses, marker + "-", color=colour, ms=5, lw=1.6, label=f"seed {run['seed']}")
    for step, loss in (runs[0]["held_out"][0], runs[0]["held_out"][-1]):
        place = runs[0]["questions"] * step / runs[0]["steps"]
        axes.annotate(f"{loss:.2f}", (place, loss), xytext=(8, 0), textcoords="offset points", va="center")
    axes.set(xlabel="questions seen", ylabel="loss on 100 test questions\n(nats per answer token)", title=title)
    axes.legend(frameon=False)
    return figure
