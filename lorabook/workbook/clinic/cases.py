"""The clinic's stored runs, each with a fault, beside the same run without it.

    case = cases()["learning rate too high"]
    case.broken.history, case.fixed.history

The runs are those of `scripts/assets/broken_runs.py`, and hold what `lorabook doctor --run` reads in a run's folder.
"""

from dataclasses import dataclass
from functools import cache

from lorabook.diagnosis.read_run import Run
from lorabook.workbook.kit.stored import stored


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
