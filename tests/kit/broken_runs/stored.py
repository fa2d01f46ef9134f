"""Stored runs, each with a fault, beside the same run without it.

    case = stored_cases()["learning rate too high"][0]
    case.broken.history, case.fixed.history

The runs are those of `scripts/assets/broken_runs.py`, and hold what `lorabook doctor --run` reads in a run's folder.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lorabook.diagnosis.read_run import Run


@dataclass(frozen=True)
class Case:
    """A run with the fault `name`, and the same run without it."""

    name: str
    seed: int
    broken: Run
    fixed: Run


@cache
def stored_cases() -> dict[str, tuple[Case, ...]]:
    """All of them, by fault, a case a seed."""

    def case(name: str, each: dict) -> Case:
        return Case(name, each["seed"], *(Run.from_json(each[which]) for which in ("broken", "fixed")))

    kept = json.loads(Path(__file__).with_name("stored.json").read_text("utf-8"))["cases"]
    return {name: tuple(case(name, each) for each in runs) for name, runs in kept.items()}
