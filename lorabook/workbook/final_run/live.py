"""A loss plot that redraws itself while training runs."""

import ipywidgets as widgets

from lorabook.training.history import History
from lorabook.workbook.kit.figures import loss_curve, to_png


class LossPlot(widgets.Image):
    """A picture of a running History: give it to `finetune` as `on_log`. One image, redrawn in place."""

    def __init__(self, total: int | None = None):
        self.total = total
        super().__init__(format="png", width="640", value=to_png(loss_curve(History(), "Not started yet", total)))

    def __call__(self, history: History) -> None:
        self.value = to_png(loss_curve(history, f"Step {len(history.steps)}", self.total))

    def __repr__(self) -> str:
        return "LossPlot()"
