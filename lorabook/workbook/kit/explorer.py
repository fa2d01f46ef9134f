"""What every explorer is: a state that controls move, shown by a module that runs in the reader's browser.

The module is JavaScript, so it moves without a kernel. Python says first what it is to show: `shown(state)` is the
truth, and the tests hold the module's `shown` to it, integer by integer. How the parts fit:

    kit/frame.js        controls, drawing, readout; `widget` is the live version, `start` the static one
    <room>/explorer.js  `explorer`: what is shown in a state, and how it is drawn
    <room>/explorer.py  the state, its controls, `shown`, and a subclass of `Explorer` that names them
"""

import base64
import html
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import traitlets

from lorabook.errors import LorabookError, SettingError
from lorabook.workbook.kit.controls import Control
from lorabook.workbook.kit.module import inlined

try:
    from anywidget import AnyWidget
except ImportError:  # the static version is shown in place of the live one
    AnyWidget: Any = traitlets.HasTraits


class Explorer(AnyWidget):
    """An explorer with its live version, a widget, and its static version, HTML that moves without a kernel.

    Args:
        module: the JavaScript file, relative to the workbook.
        controls: for every field of the state its control, in the order shown.
        default: the state at the start, a frozen dataclass.
        shown: `shown(state)` is what the module shows, as JSON: "title", "readout" of a few lines, perhaps "details"
            that fold out, "copy" with texts to copy by name, and the values that are drawn. It may raise a
            LorabookError, whose message is then shown.
        presets: named states, each of which gets a button.
        data: what the module's `shown` needs beside the state, as JSON.

    Attributes:
        state: what the controls are in. Setting it moves them; whoever observes it is told of the reader's moves.

    Raises:
        SettingError: a state is set that no control offers.
    """

    state: Any = traitlets.Any().tag(
        sync=True,
        to_json=lambda state, _: asdict(state),
        from_json=lambda values, explorer: explorer.state_of(values),
    )
    spec: Any = traitlets.Dict().tag(sync=True)
    _esm = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        module: str,
        controls: Mapping[str, Control],
        default: Any,
        shown: Callable[[Any], dict[str, Any]],
        presets: Mapping[str, Any] | None = None,
        data: Any = None,
    ):
        self.controls, self.default, self.module = dict(controls), default, inlined("kit/frame.js", module)
        self._shown = shown
        spec = {
            "name": type(self).__name__,
            "controls": [control.spec(name) for name, control in controls.items()],
            "presets": {name: asdict(state) for name, state in (presets or {}).items()},
            "state": asdict(default),
            "data": data,
        }
        super().__init__(state=default, spec=spec, _esm=f"{self.module}\nexport default widget(explorer);\n")

    def shown(self, state: Any) -> dict[str, Any]:
        """What the module shows in `state`; {"error": message} where there is nothing to show."""
        try:
            return self._shown(state)
        except LorabookError as error:
            return {"error": str(error)}

    def state_of(self, values: Mapping[str, Any]) -> Any:
        """The state of these values, whose lists JSON made of tuples."""
        return type(self.default)(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

    @traitlets.validate("state")
    def _offered(self, proposal: Any) -> Any:
        state = proposal["value"]
        if not isinstance(state, type(self.default)):
            raise SettingError(f"The state is {state!r}.", f"Give a {type(self.default).__name__}.")
        for name, control in self.controls.items():
            value, offered = getattr(state, name), control.offered(state)
            if not (set(value) <= set(offered) if control.kind == "boxes" else value in offered):
                raise SettingError(f"{name} is {value!r}.", f"Choose among {', '.join(map(repr, offered))}.")
        return state

    def static_html(self, picture: bytes) -> str:
        """HTML that shows a PNG of the default state, and in its place the explorer where scripts run."""
        name, said = type(self).__name__, html.escape(self.shown(self.default)["readout"])
        spec = json.dumps(self.spec, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
        source = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
        return (
            f'<div class="lorabook-explorer" data-name="{name}"><img width="840" alt="{said}" src="{source}"></div>\n'
            f'<script type="module">\n{self.module}\nstart(explorer, {spec});\n</script>'
        )

    def static_version(self) -> dict[str, Any]:
        """The static version by kind: HTML, the picture, and what it says in the default state."""
        picture = picture_of(type(self).__name__)
        html_text, said = self.static_html(picture), self.shown(self.default)["readout"]
        return {"text/html": html_text, "image/png": picture, "text/markdown": f"*{said}*", "text/plain": said}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _ipython_display_(self) -> None:
        """Display the live version and, for when no kernel runs, the static one, which the live one hides."""
        from IPython.display import display

        if AnyWidget is not traitlets.HasTraits:
            live = self._repr_mimebundle_()
            display(live[0] if isinstance(live, tuple) else live, raw=True)
        display(self.static_version(), raw=True)


def picture_of(name: str) -> bytes:
    """A PNG of the explorer `name` in its default state, as `scripts/assets/explorer_pictures.py` took it."""
    return files("lorabook").joinpath("assets", "explorers", f"{name}.png").read_bytes()
