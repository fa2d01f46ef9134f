"""A question for the reader to answer before the notebook does, by a button or in code."""

import html
import math
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets

from lorabook.errors import SettingError, did_you_mean, shown
from lorabook.workbook.kit.guess import amount, off_by


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
        for button in self.buttons:
            button.button_style = ("success" if choice == self.right else "warning") * (button.description == choice)
        self.verdict.value = html.escape(self.judge(choice))

    def judge(self, guess: Any) -> str:
        """What is to be said of a guess: a choice in words that tell it from the others, or a number near one.

        A number counts as the choice to which its ratio is smallest, where all choices are numbers.
        """
        numbers = {choice: amount(choice) for choice in self.choices}
        scale = {choice: number for choice, number in numbers.items() if number}  # of a question about an amount: all
        number, said = amount(guess), str(guess).strip().lower()
        if guess in self.choices:
            chosen = [guess]
        elif number and number > 0 and len(scale) == len(numbers):
            chosen = [min(scale, key=lambda choice: abs(math.log(number / scale[choice])))]
        else:
            chosen = [choice for choice in self.choices if said and said in choice.lower()]
        if len(chosen) != 1:
            near = did_you_mean(str(guess), self.choices)
            return f"{shown(guess)} is none of the choices. {near}Give one of: {', '.join(self.choices)}."
        if chosen[0] == self.right:
            return f"✓ {self.why}"
        off = f"{off_by(number, scale[self.right])}. " if number and len(scale) == len(numbers) else ""
        return f"✗ {off[:1].upper()}{off[1:]}It is: {self.right}. {self.why}"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        found: Any = super()._repr_mimebundle_(**kwargs)
        return found | {"text/plain": f"{self.question}  [{' | '.join(self.choices)}]"}
