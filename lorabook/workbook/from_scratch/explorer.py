"""The Fading explorer: what a model writes while its LoRA update is faded in."""

from dataclasses import dataclass
from typing import Any

from lorabook.workbook.kit.controls import buttons, slider
from lorabook.workbook.kit.explorer import Explorer
from lorabook.workbook.kit.stored import stored

TENTHS = range(0, 41, 2)
PROMPTS = {"Reader": 0, "Counter": 1, "Server": 2}


@dataclass(frozen=True)
class FadingState:
    """The strength of the update in tenths, and which of the texts is shown."""

    tenths: int = 10
    prompt: int = 0


class FadingExplorer(Explorer):
    """The strength of the LoRA update → one text of the model, and how many functions begin with a docstring."""

    def __init__(self) -> None:
        controls = {
            "tenths": slider("strength of the update", {f"{t / 10:.1f}": t for t in TENTHS}),
            "prompt": buttons("text", PROMPTS),
        }
        found = stored("from_scratch", "fading")
        data = {"counts": found["counts"], "texts": found["texts"]}
        super().__init__("from_scratch/explorer.js", controls, FadingState(), shown, data=data)


def shown(state: FadingState) -> dict[str, Any]:
    """The lines of one text, and of every factor the percentage of functions that begin with a docstring."""
    found = stored("from_scratch", "fading")
    place = TENTHS.index(state.tenths)
    seen, functions = found["counts"][place]
    strength = f"{state.tenths / 10:.1f}"
    return {
        "title": f"Strength {strength}: {seen} of {functions} functions have a docstring",
        "readout": f"With the update at strength {strength}, {seen} of {functions} functions in 44 texts begin with a "
        "docstring.",
        "tenths": state.tenths,
        "percent": [round(100 * seen / functions) for seen, functions in found["counts"]],
        "lines": found["texts"][place][state.prompt].split("\n"),
    }
