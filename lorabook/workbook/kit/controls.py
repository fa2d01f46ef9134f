"""An explorer's controls: for each field of a state, what is shown and what it stands for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Control:
    """A control for one field, as frame.js makes it from native inputs that work from the keyboard.

    Attributes:
        kind: "slider" for many options in an order, "buttons" for a few, "check" for true or false, "boxes" for any
            number of options at once.
        label: stands before it.
        options: what is shown, and the value it stands for. With `by`, these for each value of the field `by`.
        usual: with `by`, what is ticked when the field `by` moves to a value that does not offer all that was ticked.
    """

    kind: str
    label: str
    options: Mapping[Any, Any]
    by: str = ""
    usual: Mapping[str, tuple[str, ...]] | None = None

    def offered(self, state: Any) -> list[Any]:
        """The values that it offers in `state`."""
        return list((self.options[getattr(state, self.by)] if self.by else self.options).values())

    def spec(self, name: str) -> dict[str, Any]:
        """The control of the field `name` as JSON."""
        if self.by:
            options: Any = {key: list(of.items()) for key, of in self.options.items()}
        else:
            options = list(self.options.items())
        return {"name": name, "options": options} | {
            field: value for field, value in vars(self).items() if field != "options" and value
        }


def slider(label: str, options: Mapping[str, Any]) -> Control:
    """A place on a slider for each option, for many in an order."""
    return Control("slider", label, options)


def buttons(label: str, options: Mapping[str, Any]) -> Control:
    """One button an option, for a few."""
    return Control("buttons", label, options)


def check(label: str) -> Control:
    """A box that is ticked or not."""
    return Control("check", label, {"yes": True, "no": False})


def label_of(options: Mapping[str, Any], value: Any) -> str:
    """What a control shows for `value`."""
    return next(label for label, option in options.items() if option == value)
