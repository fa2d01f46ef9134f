"""A question with buttons, for the reader to answer before the notebook does."""

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets

from lorabook.errors import SettingError


class Question(widgets.VBox):
    """A question and a button for each choice. A click says whether the choice was right, and why.

    A click can be followed by another one. Without a kernel, what is shown is the question with its choices.

    Args:
        text: the question.
        choices: what can be answered, the one that is right among them.
        right: the right choice.
        why: a sentence or two, shown after every answer.
    """

    def __init__(self, text: str, choices: Sequence[str], right: str, why: str):
        if right not in choices:
            raise SettingError(f"The right answer is {right!r}.", f"Choose it among: {', '.join(choices)}.")
        self.question, self.choices, self.right, self.why = text, tuple(choices), right, why
        wide = widgets.Layout(width="auto")
        self.buttons = [widgets.Button(description=choice, layout=wide) for choice in choices]
        for button in self.buttons:
            button.on_click(lambda clicked: self.answer(clicked.description))
        self.verdict = widgets.HTML()
        self.verdict.add_class("lorabook-readout")
        row = widgets.HBox(self.buttons, layout=widgets.Layout(flex_flow="row wrap"))
        super().__init__([widgets.HTML(f"<b>{html.escape(text)}</b>"), row, self.verdict])
        self.add_class("lorabook-question")

    def answer(self, choice: str) -> None:
        """What a click on `choice` does."""
        mark = "✓" if choice == self.right else f"✗ It is: {self.right}."
        for button in self.buttons:
            button.button_style = ("success" if choice == self.right else "warning") * (button.description == choice)
        self.verdict.value = html.escape(f"{mark} {self.why}")

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        found: Any = super()._repr_mimebundle_(**kwargs)
        return found | {"text/plain": f"{self.question}  [{' | '.join(self.choices)}]"}
