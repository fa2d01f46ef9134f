"""The loss plot that the final notebook gives to `finetune` as its `on_log`."""

from IPython.display import DisplayHandle, Image, display

from lorabook.training.history import History
from lorabook.workbook.kit.figures import loss_curve, to_png


class LossPlot:
    """A picture of a running History, drawn below the cell that calls `show` and redrawn there. It stays when saved."""

    def __init__(self, total: int | None = None):
        self.total, self.curve = total, loss_curve(History(), "Not started yet", total)
        self.handle: DisplayHandle | None = None

    def show(self) -> "LossPlot":
        """Draw it here from now on."""
        self.handle = display(self._picture(), display_id=True)
        return self

    def __call__(self, history: History) -> None:
        self.curve = loss_curve(history, self._title(history), self.total)
        if self.handle:
            self.handle.update(self._picture())

    def _title(self, history: History) -> str:
        if len(history.held_out) < 2:
            return f"Step {len(history.steps)}"
        (_, first), (step, last) = history.held_out[0], history.held_out[-1]
        when = f"after {step} steps" if step == self.total else f"at step {step}"
        return f"Held-out loss {first:.2f} → {last:.2f} {when}"

    def _picture(self) -> Image:
        return Image(to_png(self.curve), width=640)
