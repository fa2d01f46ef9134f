"""The clinic's stored runs, each beside the same run without its fault, and what notebook 08 asks its models.

    case = cases()["learning rate too high"]
    case.broken.history, case.fixed.history

The runs are those of `scripts/assets/broken_runs.py`, and hold what `lorabook doctor --run` reads in a run's folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from lorabook.data.examples import Pair
from lorabook.diagnosis.read_run import Run
from lorabook.models import load_model
from lorabook.workbook.kit.stored import stored

# A made-up tool with one flag for each of its actions.
FLAGS = {"create": "new", "delete": "drop", "copy": "twin", "rename": "alias"}
FLAGS |= {"show": "peek", "check": "probe", "update": "bump", "share": "lend"}
OBJECTS = ("key", "server", "user", "report", "backup", "file", "table", "disk", "test", "log", "page", "folder")


@dataclass(frozen=True)
class Case:
    """A run with the fault `name`, and the same run without it."""

    name: str
    seed: int
    broken: Run
    fixed: Run


@cache
def stored_cases() -> dict[str, tuple[Case, ...]]:
    """The runs that ship with the book, by fault, a case a seed."""

    def case(name: str, each: dict) -> Case:
        return Case(name, each["seed"], *(Run.from_json(each[which]) for which in ("broken", "fixed")))

    kept = stored("clinic", "broken_runs")["cases"]
    return {name: tuple(case(name, each) for each in runs) for name, runs in kept.items()}


def cases() -> dict[str, Case]:
    """One case of every fault, by its name."""
    return {name: runs[0] for name, runs in stored_cases().items()}


def tool_pairs() -> list[Pair]:
    """The questions of case 4, about the tool of notebook 09."""
    asked = [(verb, flag, thing) for verb, flag in FLAGS.items() for thing in OBJECTS]
    return [
        Pair(number, "", f"How do I {verb} a {thing}?", f"Run `lab {thing} --{flag}`.")
        for number, (verb, flag, thing) in enumerate(asked)
    ]


def write_answers(model: Any, prompts: Sequence[str], **options: Any) -> list[list[int]]:
    """The pocket model's answers as token ids, each up to its end token or to the limit.

    Args:
        prompts: padded on the left, so that all answers start at the same position.
        options: for `generate`, such as max_new_tokens.
    """
    tokenizer = load_model("pocket", device="cpu").tokenizer
    end = tokenizer.pad_token_id = tokenizer.eos_token_id
    batch = tokenizer(list(prompts), padding=True, padding_side="left", return_tensors="pt")
    torch.manual_seed(0)
    ids = model.generate(**batch, eos_token_id=end, pad_token_id=end, **options)
    answers = ids[:, batch["input_ids"].shape[1] :].tolist()
    return [answer[: answer.index(end) + 1] if end in answer else answer for answer in answers]
