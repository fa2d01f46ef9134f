"""What every explorer is: controls → a state → a picture and a text, redrawn in place."""

import html
import io
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lorabook.errors import LorabookError
from lorabook.workbook.kit import figures

DPI = 100


class DrawnExplorer(widgets.VBox):
    """Controls, and below them what `figure` draws and `readout` says of the state they are in.

    The picture is one Matplotlib figure outside pyplot, drawn anew into one image of fixed size: nothing flickers, and
    no figure stays open. There is no Output widget. Whatever drawing raises is shown in the explorer until the next
    change, in place of a picture that would belong to another state: raised in a callback, it would be lost in a log.

    Args:
        controls: for every field of the state its widget, with a `value` and a description, in the order shown.
            Sliders, ToggleButtons, Checkbox and `CheckBoxes` work from the keyboard everywhere. A list or radio buttons
            do not: JupyterLab takes the arrow keys to go to another cell. Setting a state moves them in this order.
        default: the state at the start, a frozen dataclass. A control must offer its field's value.
        figure: `figure(state, on)` clears `on`, draws the state there and returns it; on None, on a figure of its own.
        readout: `readout(state)` is what the picture shows, in plain text of a few lines.
        details: `details(state)` is more of it, which folds out below; None for nothing.
        presets: named states, each of which gets a button.
        size: width and height of the picture in pixels.

    Attributes:
        state: what the controls are in. Setting it moves them all and draws once.
        picture, text, more, error: the widgets that show the picture, the readout, its details and what went wrong.
    """

    def __init__(
        self,
        controls: Mapping[str, Any],
        default: Any,
        figure: Callable[[Any, Figure | None], Figure],
        readout: Callable[[Any], str],
        presets: Mapping[str, Any] | None = None,
        size: tuple[int, int] = (840, 440),
        details: Callable[[Any], str] | None = None,
    ):
        self.controls, self.default, self.figure, self.readout = dict(controls), default, figure, readout
        self.details = details
        width, height = size
        self._figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        FigureCanvasAgg(self._figure)  # a canvas that stays remembers how wide its texts were
        self._drawn: Any = None
        self._moving = False
        # The attributes tell the browser the picture's shape, so that a narrow window shrinks it whole.
        room = widgets.Layout(width=f"{width}px", height="auto", max_width="calc(100% - 4px)")
        self.picture = widgets.Image(format="png", width=str(width), height=str(height), layout=room)
        self.text, self.error = widgets.HTML(), widgets.HTML(layout=widgets.Layout(display="none"))
        self.more = widgets.HTML()
        self.fold = widgets.Accordion([self.more], selected_index=None)
        self.fold.set_title(0, "details")
        for text in (self.text, self.fold):
            text.add_class("lorabook-readout")
        self.error.add_class("lorabook-error")
        buttons = [widgets.Button(description=name, layout=widgets.Layout(width="auto")) for name in presets or {}]
        for button, state in zip(buttons, (presets or {}).values()):
            button.on_click(partial(self._preset, state))
        for control in self.controls.values():
            control.layout.min_width = "min(415px, 100%)"
            if hasattr(control, "style"):  # a group of boxes has none
                control.style.description_width = "130px"
            if isinstance(control, widgets.ToggleButtons):
                control.style.button_width = "auto"
                control.add_class("widget-inline-hbox")  # as all other controls: the description beside, not above
            control.add_class("lorabook-control")
        rows = [_row([widgets.Label("settings to try:"), *buttons])] if buttons else []
        super().__init__([*rows, _row(list(self.controls.values())), self.error, self.picture, self.text])
        if details:
            self.children = (*self.children, self.fold)
        self.add_class("lorabook-explorer")
        self.state = default
        for control in self.controls.values():
            control.observe(self._redraw, names="value")

    @property
    def state(self) -> Any:
        return type(self.default)(**{name: control.value for name, control in self.controls.items()})

    @state.setter
    def state(self, state: Any) -> None:
        self._moving = True
        try:
            for name, control in self.controls.items():
                control.value = getattr(state, name)
        finally:
            self._moving = False
        self._redraw()

    def show_static(self) -> None:
        """Show the default state's picture and readout as plain outputs, for readers where no widget runs."""
        figures.show(self.figure(self.default, None), self.readout(self.default))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _preset(self, state: Any, button: widgets.Button) -> None:
        self.state = state

    def _redraw(self, change: Any = None) -> None:
        if self._moving:
            return
        try:
            state = self.state
            if state == self._drawn:
                return
            self._drawn = None
            text, picture = self.readout(state), to_fast_png(self.figure(state, self._figure))
            more = self.details(state) if self.details else ""
        except Exception as error:
            self._show("", "", _message(error))
            return
        self._drawn = state
        self.picture.value = picture
        self._show(text, more, "")

    def _show(self, text: str, more: str, error: str) -> None:
        self.text.value = html_of(text) if text else ""
        self.more.value = html_of(more) if more else ""
        self.error.value = (
            f'<div role="alert" style="border-left: 4px solid {figures.VERMILION}">{html_of(error)}</div>'
        )
        self.error.layout.display = None if error else "none"
        self.picture.layout.visibility = "hidden" if error else None


def _row(children: list[Any]) -> widgets.HBox:
    return widgets.HBox(children, layout=widgets.Layout(flex_flow="row wrap", padding="0 0 6px 0"))


def html_of(text: str) -> str:
    """`text` as HTML that shows it and renders nothing of it, line by line, wrapped where there is no room."""
    return f'<div style="white-space: pre-wrap; padding: 2px 8px; line-height: 1.5">{html.escape(text)}</div>'


def to_fast_png(figure: Figure) -> bytes:
    """`figure` as PNG at its own size, a third faster than `figures.to_png` at some cost in sharpness and bytes."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"text.hinting": "none"}):  # hinted text takes a fifth longer to draw
        figure.savefig(buffer, format="png", dpi="figure", pil_kwargs={"compress_level": 1})
    return buffer.getvalue()


def _message(error: Exception) -> str:
    if isinstance(error, LorabookError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"This is a fault of the explorer, at {Path(place.filename).name} line {place.lineno}: "
        f"{type(error).__name__}: {error}\nChange a control to go on."
    )
