"""What the final notebook gives to `finetune` as its `on_log`: a loss plot, with the stop button pressed once."""

import signal
from collections.abc import Callable

from IPython import get_ipython
from IPython.display import DisplayHandle, Image, display

from lorabook.training.history import History
from lorabook.workbook.kit.figures import loss_curve, to_png


class LossPlot:
    """A picture of a running History below the cell that runs, redrawn in place. The saved notebook keeps the last."""

    def __init__(self, total: int | None = None):
        self.total = total
        self.cell: int | None = None  # the one that it was last drawn below: a resumed run is drawn where one looks
        self.handle: DisplayHandle | None = None

    def __call__(self, history: History) -> None:
        curve = loss_curve(history, f"Step {len(history.steps)}", self.total)
        picture = Image(to_png(curve), width=640)
        cell = getattr(get_ipython(), "execution_count", None)
        if self.handle and cell == self.cell:
            self.handle.update(picture)
        else:
            self.cell, self.handle = cell, display(picture, display_id=True)


def interrupt_at(step: int, then: Callable[[History], None] | None = None) -> Callable[[History], None]:
    """Press the stop button once, at `step`, and call `then` at every: to see that nothing is lost."""

    def on_log(history: History) -> None:
        if then:
            then(history)
        if len(history.steps) == step:
            signal.raise_signal(signal.SIGINT)

    return on_log
