"""Ten statements about LoRA for the reader to judge.

The answers outlive the kernel: they are kept in `statements.json` under `runs`, beside the notebooks.
"""

import html
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from lorabook.workbook.kit import kept

FILE = "statements.json"
VERDICTS = ("true", "imprecise", "wrong")


@dataclass(frozen=True)
class Statement:
    """A claim, the verdict on it, and the section that decides: a notebook, or a page beside it, and its heading."""

    text: str
    verdict: str
    because: str
    notebook: str
    heading: str
    page: str = ""

    @property
    def link(self) -> str:
        """Markdown: "notebook 04", leading to the section. The heading is not shown, since it may give it away."""
        fragment = anchor(self.heading)
        if self.page:  # whose fragments are those of Sphinx and GitHub
            fragment = fragment.lower().rstrip("?")
        return f"[notebook {self.notebook[:2]}]({self.page or self.notebook}#{fragment})"


STATEMENTS = (
    Statement(
        "LoRA can train a model of over a billion parameters on a free GPU too small to train all of it with AdamW.",
        "true",
        "frozen weights need no gradients and no optimizer state (an estimate: we had no GPU)",
        "02_where_memory_goes.ipynb",
        "Add it up",
    ),
    Statement(
        "LoRA saves memory because gradients, optimizer state and activations all shrink.",
        "imprecise",
        "gradients and optimizer state do; activations need not",
        "02_where_memory_goes.ipynb",
        "Memory per token",
    ),
    Statement(
        "To train in d dimensions, the parameters are projected down to d numbers and back up.",
        "wrong",
        "the d numbers start at zero and are only mapped up, then added to the original parameters",
        "05_intrinsic_dimension.ipynb",
        "A task whose dimension we know",
    ),
    Statement(
        "ΔW, the change of a weight, is the gradient that backpropagation computes.",
        "wrong",
        "ΔW is the sum of many optimizer steps",
        "04_low_rank_updates.ipynb",
        "Is the update the gradient?",
        page="more_low_rank.md",
    ),
    Statement(
        "Fine-tuning needs few dimensions, so its updates have a low rank.",
        "wrong",
        "it doesn't follow: one trained parameter can give a full-rank update",
        "04_low_rank_updates.ipynb",
        "Does a low dimension mean a low rank?",
        page="more_low_rank.md",
    ),
    Statement(
        "A linear layer with LoRA starts out computing exactly what it computed before, because B is zero.",
        "true",
        "BA is zero until B has moved",
        "01_lora_from_scratch.ipynb",
        "The layer",
    ),
    Statement(
        "Computing the product BA in the forward pass costs nothing in training: it is a temporary outside the graph.",
        "wrong",
        "it is in the graph: a dense matrix is kept, and a dense gradient is computed",
        "01_lora_from_scratch.ipynb",
        "Why train so few parameters?",
    ),
    Statement(
        "LoRA makes fine-tuning faster.",
        "imprecise",
        "a step does about a third less arithmetic; how much time that saves depends on model and machine",
        "03_rank_and_alpha.ipynb",
        "Is LoRA faster?",
        page="more_rank.md",
    ),
    Statement(
        "What is trained and stored for a task can be as little as 0.01% of the model.",
        "true",
        "about 1% of StarCoderBase-1B at r = 16; the LoRA paper trained 18.9 million of GPT-3's 175 billion",
        "07_many_tasks.ipynb",
        "A hundred copies, or one?",
    ),
    Statement(
        "LoRA is better than adapter layers.",
        "imprecise",
        "at the same size, it recovered more of the improvement, but only in our short runs, on one small model",
        "03_rank_and_alpha.ipynb",
        "Going deeper: compared with other methods",
    ),
)


def anchor(heading: str) -> str:
    """The fragment that leads to a heading in JupyterLab: its text with hyphens for spaces.

    Plain letters and signs only: JupyterLab does not find a heading whose fragment a browser has to escape.
    """
    return heading.replace(" ", "-")


class Board(widgets.VBox):
    """Every statement with a button for each verdict. A click is kept at once; the last one counts.

    Without a kernel, what is shown is that they are there: a page beside the notebook has them with their verdicts.
    """

    def __init__(self) -> None:
        said = read_answers()
        self.choices = []
        rows = []
        for n, statement in enumerate(STATEMENTS, 1):
            choice = widgets.ToggleButtons(options=VERDICTS, value=said.get(str(n)), layout={"width": "auto"})
            choice.style.button_width = "auto"
            choice.observe(lambda change, n=n: kept.keep(FILE, str(n), change["new"]), names="value")
            self.choices.append(choice)
            rows += [widgets.HTML(f"<b>{n}.</b> {html.escape(statement.text)}"), choice]
        super().__init__(rows)
        self.add_class("lorabook-statements")

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        found: Any = super()._repr_mimebundle_(**kwargs)
        waiting = "ten statements, with buttons: run this cell"
        return found | {"text/markdown": f"*({waiting})*", "text/plain": waiting}


def verdicts() -> None:
    """Display, for every statement, the verdict and what decides it, beside what the reader said, if anything."""
    from IPython.display import Markdown, display

    said = read_answers()
    lines = (
        ["| | you say | it is | because |", "|---|---|---|---|"] if said else ["| | it is | because |", "|---|---|---|"]
    )
    for n, s in enumerate(STATEMENTS, 1):
        answer = f"{said.get(str(n), '–')} | " if said else ""
        lines.append(f"| {n} | {answer}**{s.verdict}** | {s.because} ({s.link}) |")
    if said:
        right = sum(said.get(str(n)) == s.verdict for n, s in enumerate(STATEMENTS, 1))
        lines += ["", f"You have {right} of {len(STATEMENTS)} right."]
    display(Markdown("\n".join(lines)))


def read_answers() -> dict[str, str]:
    """The kept verdicts by number."""
    return {n: v for n, v in kept.read(FILE).items() if v in VERDICTS}
