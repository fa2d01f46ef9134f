"""An explorer's controls for a choice among options: what is shown, and what it stands for."""

from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets


def buttons(description: str, options: Mapping[str, Any]) -> widgets.ToggleButtons:
    """One button an option, for a few."""
    return widgets.ToggleButtons(description=description, options=list(options.items()))


def slider(description: str, options: Mapping[str, Any]) -> widgets.SelectionSlider:
    """A place on a slider for each option, for many in an order."""
    return widgets.SelectionSlider(description=description, options=list(options.items()))


def label(options: Mapping[str, Any], value: Any) -> str:
    """What a control shows for `value`."""
    return next(label for label, option in options.items() if option == value)
