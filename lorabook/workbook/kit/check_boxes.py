"""A group of check boxes as one control, whose options can change."""

from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
import traitlets


class CheckBoxes(widgets.HBox):
    """Check boxes under one description; `value` holds what the ticked ones stand for.

    Each box is a stop of the Tab key and takes the space bar. After a click the value is in the order of the boxes.

    Args:
        description: stands before the boxes.
        options: what a box shows, and what it stands for, as of a selection widget.
        value: what is ticked at the start.

    Attributes:
        boxes: holds the boxes shown.
    """

    value: Any = traitlets.Tuple()

    def __init__(self, description: str, options: Mapping[str, str], value: tuple[str, ...] = ()):
        self.description = description
        place = widgets.Layout(width="130px", display="flex", justify_content="flex-end", margin="2px 8px 2px 2px")
        self.boxes = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap", flex="1"))
        self._made: list[widgets.Checkbox] = []
        super().__init__([widgets.Label(description, layout=place), self.boxes])
        self.offer(options, value)

    def offer(self, options: Mapping[str, str], value: tuple[str, ...]) -> None:
        """Show boxes for these options, and tick those of `value`."""
        self._options = tuple(options.values())
        while len(self._made) < len(options):
            place = widgets.Layout(width="auto", margin="2px 16px 2px 0")
            self._made.append(widgets.Checkbox(indent=False, layout=place))
            self._made[-1].observe(self._collect, names="value")
        for box, name in zip(self._made, options):
            box.description = name
        self.boxes.children = self._made[: len(options)]
        self.value = value
        self._tick()  # the same value may stand in other boxes

    @traitlets.observe("value")
    def _tick(self, change: Any = None) -> None:
        self._ticking = True
        for box, option in zip(self._made, self._options):
            box.value = option in self.value
        self._ticking = False

    def _collect(self, change: Any) -> None:
        if not self._ticking:
            self.value = tuple(option for box, option in zip(self._made, self._options) if box.value)
