"""The clinic's patients: stored runs, each with a fault, beside the same run without it, and a model.

    case = cases()["learning rate too high"]
    case.broken.history, case.fixed.history

The runs are those of `scripts/assets/broken_runs.py`, and hold what `lorabook doctor --run` reads in a run's folder.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

from lorabook import LoRAConfig, apply_lora
from lorabook.data.examples import Example, Pair, prompt
from lorabook.diagnosis.read_run import Run
from lorabook.models import load_model
from lorabook.peft_format import adapter_file
from lorabook.training.history import History
from lorabook.workbook.clinic.faults import label_after_a_template, load_adapter
from lorabook.workbook.kit.stored import stored

# A made-up tool with one flag for each of its actions.
FLAGS = {"create": "new", "delete": "drop", "copy": "twin", "rename": "alias"}
FLAGS |= {"show": "peek", "check": "probe", "update": "bump", "share": "lend"}
OBJECTS = ("key", "server", "user", "report", "backup", "file", "table", "disk", "test", "log", "page", "folder")

# What notebook 08 shows of them, by its own numbers: its cells do not name a fault before the reader has guessed it.
NUMBERS = {
    8: "overfitting",
    9: "learning rate too high",
    10: "loss flat",
}


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


@dataclass(frozen=True)
class StoredRun:
    """What notebook 08 looks at in a stored run. `norms_of_B` are by layer, after the last step."""

    history: History
    lr: float
    norms_of_B: dict[str, float]
    passes: float

    @classmethod
    def of(cls, run: Run) -> "StoredRun":
        assert run.record and run.factors and run.passes  # every stored run has them
        norms = {name: norms.B for name, norms in run.factors.items()}
        return cls(run.history, run.record.training["lr"], norms, run.passes)


def stored_runs() -> tuple[dict[int, StoredRun], dict[int, StoredRun]]:
    """The broken runs of notebook 08 and the fixed ones, both by their number there."""
    shown = {number: cases()[name] for number, name in NUMBERS.items()}
    broken = {number: StoredRun.of(case.broken) for number, case in shown.items()}
    return broken, {number: StoredRun.of(case.fixed) for number, case in shown.items()}


def nan_patient() -> nn.Module:
    """The model of case 4: its LoRA layers were converted to fp16 along with the base."""
    model = load_model("pocket", device="cpu").model
    apply_lora(model, LoRAConfig(r=16, alpha=32))
    return model.half()


def script_examples(pairs: Sequence[Pair], tokenizer) -> list[Example]:
    """The examples of case 1: each is one text, as many scripts write it, whose tokens may all be labels."""
    texts = [f"Question: {pair.title}\nAnswer: {pair.answer}" for pair in pairs]
    ids = [tokenizer(text).input_ids[:256] for text in texts]
    return [Example(tuple(of_text), 1, pair.question_id) for of_text, pair in zip(ids, pairs)]


script_collator = label_after_a_template  # its name in case 1, which doesn't give the fault away


def application(model: nn.Module, adapter_folder: str | Path) -> nn.Module:
    """The model that the application of case 3 uses."""
    load_adapter(model, Path(adapter_folder))  # puts LoRA layers into `model`
    return model


# What both sides of case 6 write around a question, {}.
IN_TRAINING = prompt(Pair(question_id=0, title="", question="{}", answer=""))
prompts = {"training script": IN_TRAINING, "application": IN_TRAINING.strip()}


def tool_pairs() -> list[Pair]:
    """The questions of case 6, about the tool of notebook 09."""
    asked = [(verb, flag, thing) for verb, flag in FLAGS.items() for thing in OBJECTS]
    return [
        Pair(number, "", f"How do I {verb} a {thing}?", f"Run `lab {thing} --{flag}`.")
        for number, (verb, flag, thing) in enumerate(asked)
    ]


def adapter_without_effect(model: nn.Module) -> Path:
    """A new folder with the adapter of case 7: that of `model`, whose tensors have lost a part of their names."""
    folder = adapter_file.save(model, tempfile.mkdtemp(), base_name="pocket")
    file = folder / adapter_file.WEIGHTS_NAME
    save_file({name.removeprefix(adapter_file.PREFIX): tensor for name, tensor in load_file(file).items()}, file)
    return folder
