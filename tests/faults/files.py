"""Damaged adapters, wrong ones, files that would run code: all refused by name, the model left as it was."""

import os
import random
import re
import shutil
from pathlib import Path

from lorabook import adapters
from lorabook.errors import AdapterError
from lorabook.lora import LoRAConfig
from lorabook.peft_format.adapter_file import load, save
from tests.faults import adapter_cases, code_cases
from tests.faults.rows import Row
from tests.kit.adapters import adapted
from tests.kit.families import gpt_bigcode
from tests.kit.untouched import assert_untouched, snapshot

STARCODER = ("c_attn", "c_proj", "c_fc", "wte", "wpe")
MARK = "FAULTS_TRAP"  # the environment variable with the name of the folder that a trap makes


def run(sample: int | None, seed: int, folder: Path) -> list[Row]:
    """Each adapter is loaded into a bare model, and as a second one beside an active adapter."""
    trap = folder / "ran"
    os.environ[MARK] = str(trap)
    sound = save(adapted(gpt_bigcode(), LoRAConfig(r=4, targets=STARCODER)), folder / "sound", "somebody/tiny")
    load(gpt_bigcode(), sound)
    kinds: dict[str, list[adapter_cases.Case]] = {}
    for case in adapter_cases.cases():
        kinds.setdefault(case.kind, []).append(case)
    rows = []
    for kind, cases in kinds.items():
        chosen = cases if sample is None else random.Random(seed).sample(cases, min(sample, len(cases)))
        wrong = [
            f"{case.name}: {problem}" for case in chosen if (problem := problem_of(case, sound, folder / "spoilt"))
        ]
        if trap.exists():
            wrong.append("a pickle was opened")
        outcome = "; ".join(wrong) or "all refused by name, no model touched"
        rows.append(Row(kind, len(chosen), outcome, not wrong))
    return rows + code_cases.run(sample, seed, folder / "code", trap)


def problem_of(case: adapter_cases.Case, sound: Path, spoilt: Path) -> str | None:
    """What is wrong with how the case was refused."""
    shutil.rmtree(spoilt, ignore_errors=True)
    shutil.copytree(sound, spoilt)
    case.spoil(spoilt)
    bare, busy = case.base(), case.base()
    name = next(n.rsplit(".", 1)[-1] for n, _ in busy.named_modules() if n.endswith((".c_attn", ".q_proj")))
    adapters.add(busy, "first", LoRAConfig(r=2, targets=(name,)))
    adapters.activate(busy, "first")
    for model, attempt in (
        (bare, lambda: load(bare, spoilt)),
        (busy, lambda: adapters.load(busy, "second", spoilt)),
    ):
        before = snapshot(model)
        try:
            attempt()
        except AdapterError as error:
            if not re.search(case.words, error.problem):
                return f"said {str(error)[:200]!r}"
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:200]}"
        else:
            return "it was loaded"
        try:
            assert_untouched(model, before)
            assert model is bare or (adapters.active(busy), adapters.names(busy)) == ("first", ["first"])
        except AssertionError as error:
            return f"the model was touched: {error}"
    return None
