"""What the final notebook gives to `finetune` as its `on_log`: a loss plot, with the stop button pressed once."""

import signal
from collections.abc import Callable

import ipywidgets as widgets

from lorabook.training.history import History
from lorabook.workbook.kit.figures import loss_curve, to_png


class LossPlot(widgets.Image):
    """A picture of a running History. One image, redrawn in place."""

    def __init__(self, total: int | None = None):
        self.total = total
        super().__init__(format="png", width="640", value=to_png(loss_curve(History(), "Not started yet", total)))

    def __call__(self, history: History) -> None:
        self.value = to_png(loss_curve(history, f"Step {len(history.steps)}", self.total))

    def __repr__(self) -> str:
        return "LossPlot()"


def interrupt_at(step: int, then: Callable[[History], None] | None = None) -> Callable[[History], None]:
    """Press the stop button once, at `step`, and call `then` at every: to see that nothing is lost."""

    def on_log(history: History) -> None:
        if then:
            then(history)
        if len(history.steps) == step:
            signal.raise_signal(signal.SIGINT)

    return on_log
