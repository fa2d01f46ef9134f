"""What the final notebook gives to `finetune` as its `on_log`: a loss plot, with the stop button pressed once."""

import signal
from collections.abc import Callable

from IPython.display import DisplayHandle, Image, display

from lorabook.training.history import History
from lorabook.workbook.kit.figures import GREY, loss_curve, to_png


class LossPlot:
    """A picture of a running History, drawn below the cell that calls `show` and redrawn there. It stays when saved."""

    def __init__(self, total: int | None = None):
        self.total, self.curve = total, loss_curve(History(), "Not started yet", total)
        self.handle: DisplayHandle | None = None
        self.steps, self.pauses = 0, []  # at which steps it was shown anew

    def show(self) -> None:
        """Draw it here from now on: before a run, and again before one that is resumed, whose step is then marked."""
        if self.steps:
            self.pauses.append(self.steps)
        self.handle = display(self._picture(), display_id=True)

    def __call__(self, history: History) -> None:
        self.steps = len(history.steps)
        self.curve = loss_curve(history, self._title(history), self.total)
        for step in self.pauses:
            axes = self.curve.axes[0]
            axes.axvline(step, color=GREY, lw=1, ls=":")
            axes.annotate(
                "interrupted", (step, 1), (4, -12), xycoords=("data", "axes fraction"), textcoords="offset points"
            )
        if self.handle:
            self.handle.update(self._picture())

    def _title(self, history: History) -> str:
        if len(history.held_out) < 2:
            return f"Step {len(history.steps)}"
        (_, first), (step, last) = history.held_out[0], history.held_out[-1]
        return f"Held-out loss {first:.2f} → {last:.2f} at step {step}" + (f" of {self.total}" if self.total else "")

    def _picture(self) -> Image:
        return Image(to_png(self.curve), width=640)


def interrupt_at(step: int, then: Callable[[History], None] | None = None) -> Callable[[History], None]:
    """Press the stop button once, at `step`, and call `then` at every: to see that nothing is lost."""

    def on_log(history: History) -> None:
        if then:
            then(history)
        if len(history.steps) == step:
            signal.raise_signal(signal.SIGINT)

    return on_log
