"""Ten statements about LoRA: judged by the reader, some in notebook 00, all in notebook 09, and then by the book.

The answers outlive the kernel: they lie in `statements.json` under `runs`, beside the notebooks, where notebook 09
finds what was said in 00. Without answers everything printed here is the same at every run.
"""

import html
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from lorabook.atomic import only_writer, replace_text

VERDICTS = ("true", "imprecise", "wrong")
WHEN = ("start", "end")  # in notebook 00, and in 09


@dataclass(frozen=True)
class Statement:
    """A claim, the verdict on it, and the section that decides: a notebook and one of its headings."""

    text: str
    verdict: str
    because: str
    notebook: str
    heading: str

    @property
    def link(self) -> str:
        """Markdown: "notebook 04", leading to the section. The heading is not shown, since it may give it away."""
        return f"[notebook {self.notebook[:2]}]({self.notebook}#{anchor(self.heading)})"


STATEMENTS = (
    Statement(
        "LoRA can train a model of over a billion parameters on a free GPU that is too small for its full fine-tuning.",
        "true",
        "frozen weights need no gradients and no optimizer state",
        "02_where_memory_goes.ipynb",
        "The whole step in one picture",
    ),
    Statement(
        "LoRA saves memory because gradients, optimizer state and activations all shrink.",
        "imprecise",
        "gradients and optimizer state do; activations need not",
        "02_where_memory_goes.ipynb",
        "Measured on one block",
    ),
    Statement(
        "To train in d dimensions, the parameters are projected down to d numbers and back up.",
        "wrong",
        "θ^d starts at zero and is only mapped up; θ0 is added",
        "05_intrinsic_dimension.ipynb",
        "Projected down?",
    ),
    Statement(
        "ΔW, the change of a weight, is the gradient that backpropagation computes.",
        "wrong",
        "ΔW is the sum of many optimizer steps",
        "04_low_rank_updates.ipynb",
        "Is the update the gradient?",
    ),
    Statement(
        "Fine-tuning needs few dimensions, so its updates have a low rank.",
        "imprecise",
        "one trained parameter can give a full-rank update; that a low rank is enough is a hypothesis of its own",
        "04_low_rank_updates.ipynb",
        "Low dimension is not low rank",
    ),
    Statement(
        "A linear layer with LoRA starts out computing exactly what it computed before, because B is zero.",
        "true",
        "BA is zero until B has moved",
        "01_lora_from_scratch.ipynb",
        "The module",
    ),
    Statement(
        "Computing the product BA in the forward pass costs nothing in training: it is a temporary outside the graph.",
        "wrong",
        "it is in the graph: a dense matrix is kept, and a dense gradient is computed",
        "01_lora_from_scratch.ipynb",
        "Three ways to write one line",
    ),
    Statement(
        "LoRA makes fine-tuning faster.",
        "imprecise",
        "a step has about a third less arithmetic; how much time that saves depends on model and machine",
        "03_rank_and_alpha.ipynb",
        "Does it go faster?",
    ),
    Statement(
        "What is trained and stored for a task can be as little as 0.01% of the model.",
        "true",
        "18.9 million parameters for GPT-3; the fraction depends on shapes and rank",
        "07_many_tasks.ipynb",
        "A hundred tasks on disk",
    ),
    Statement(
        "LoRA is better than adapter layers.",
        "imprecise",
        "ahead in short runs, barely in a longer one; merged it adds no latency, unmerged it does",
        "07_many_tasks.ipynb",
        "Which is better at equal size?",
    ),
)


def anchor(heading: str) -> str:
    """The fragment that leads to a heading in JupyterLab: its text with hyphens for spaces.

    Plain letters and signs only: JupyterLab does not find a heading whose fragment a browser has to escape.
    """
    return heading.replace(" ", "-")


def record(n: int, verdict: str | None, when: str = "start") -> None:
    """Keep what the reader says of statement `n`. None takes an answer back."""
    if verdict is None and not answers_file().exists():
        return
    with only_writer(answers_file().parent, wait=10):  # notebooks 00 and 09 may be open at once
        kept = read_answers()
        kept[when].pop(str(n), None)
        if verdict is not None:
            kept[when][str(n)] = verdict
        _keep(kept)


class Board(widgets.VBox):
    """Statements with a button for each verdict. A click is kept at once; the last one counts.

    Without a kernel, what is shown is the statements, each with the number of the notebook that decides it.

    Args:
        when: "start" or "end" of the book, which are kept apart.
        numbers: of the statements shown, by default all of them.
    """

    def __init__(self, when: str = "start", numbers: Sequence[int] = range(1, 11)):
        self.numbers = tuple(numbers)
        said = read_answers()[when]
        self.choices = []
        rows = []
        for n in self.numbers:
            choice = widgets.ToggleButtons(options=VERDICTS, value=said.get(str(n)), layout={"width": "auto"})
            choice.style.button_width = "auto"
            choice.observe(lambda change, n=n: record(n, change["new"], when), names="value")
            self.choices.append(choice)
            rows += [widgets.HTML(f"<b>{n}.</b> {html.escape(STATEMENTS[n - 1].text)}"), choice]
        super().__init__(rows)
        self.add_class("lorabook-statements")

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        found: Any = super()._repr_mimebundle_(**kwargs)
        lines = [f"- {STATEMENTS[n - 1].text} *({STATEMENTS[n - 1].notebook[:2]})*" for n in self.numbers]
        return found | {"text/markdown": "\n".join(lines), "text/plain": f"{len(lines)} statements"}


def verdicts() -> None:
    """Display, for every statement, what the reader said at the start and says now, and what decides it."""
    from IPython.display import Markdown, display

    kept = read_answers()
    lines = ["| | at the start | now | it is | because | decided in |", "|---|---|---|---|---|---|"]
    for n, s in enumerate(STATEMENTS, 1):
        said = " | ".join(kept[when].get(str(n), "–") for when in WHEN)
        lines.append(f"| {n} | {said} | **{s.verdict}** | {s.because} | {s.link} |")
    right = {when: sum(kept[when].get(str(n)) == s.verdict for n, s in enumerate(STATEMENTS, 1)) for when in WHEN}
    if any(kept.values()):
        lines += ["", f"Right at the start: {right['start']} of {len(STATEMENTS)}; now: {right['end']}."]
    display(Markdown("\n".join(lines)))


def answers_file() -> Path:
    """In the folder that holds notebook 09's runs: `runs` beside the notebook, or beside LORABOOK_OUTPUT."""
    return Path(os.environ.get("LORABOOK_OUTPUT", "runs/final")).parent / "statements.json"


def read_answers() -> dict[str, dict[str, str]]:
    """What is kept: for "start" and "end", verdicts by number. A file that is missing or spoiled holds nothing."""
    try:
        content: Any = json.loads(answers_file().read_text(encoding="utf-8"))
        found = {when: content.get(when, {}) for when in WHEN}
        return {when: {n: v for n, v in said.items() if v in VERDICTS} for when, said in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {when: {} for when in WHEN}


def _keep(kept: dict[str, dict[str, str]]) -> None:
    """Keep the answers; where there are none, no file is made, and an old one goes."""
    file = answers_file()
    if any(kept.values()):
        replace_text(file, json.dumps(kept, indent=1))
    else:
        file.unlink(missing_ok=True)
