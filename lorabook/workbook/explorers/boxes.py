"""A group of check boxes as one control, whose options can change."""

from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
import traitlets


class Boxes(widgets.HBox):
    """Check boxes under one description; `value` holds what the ticked ones stand for.

    Each box is a stop of the Tab key and takes the space bar. After a click the value is in the order of the boxes.

    Args:
        description: stands before the boxes.
        options: what a box shows, and what it stands for, as of a selection widget.
        value: what is ticked at the start.
    """

    value: Any = traitlets.Tuple()

    def __init__(self, description: str, options: Mapping[str, str], value: tuple[str, ...] = ()):
        super().__init__(layout=widgets.Layout(flex_flow="row wrap", height="auto"))
        self.add_class("widget-inline-hbox")  # the description as wide and as far right as other controls have it
        self.description = description
        self._label = widgets.Label(description, layout=widgets.Layout(width="130px"))
        self._boxes: list[widgets.Checkbox] = []
        self.offer(options, value)

    def offer(self, options: Mapping[str, str], value: tuple[str, ...]) -> None:
        """Show boxes for these options, and tick those of `value`."""
        self._options = tuple(options.values())
        while len(self._boxes) < len(options):
            self._boxes.append(widgets.Checkbox(indent=False, layout=widgets.Layout(width="auto", margin="2px 8px")))
            self._boxes[-1].observe(self._collect, names="value")
        for box, name in zip(self._boxes, options):
            box.description = name
        self.children = (self._label, *self._boxes[: len(options)])
        self.value = value
        self._tick()  # the same value may stand in other boxes

    @traitlets.observe("value")
    def _tick(self, change: Any = None) -> None:
        self._ticking = True
        for box, option in zip(self._boxes, self._options):
            box.value = option in self.value
        self._ticking = False

    def _collect(self, change: Any) -> None:
        if not self._ticking:
            self.value = tuple(option for box, option in zip(self._boxes, self._options) if box.value)
