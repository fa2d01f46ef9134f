"""The exercises of the notebooks: `check` an answer, ask for a `hint`, see a `solution`."""

from typing import Any

from lorabook.errors import SettingError
from lorabook.workbook.exercises import (
    ex00,
    ex01_loss,
    ex01_memory,
    ex02,
    ex03_budget,
    ex03_transform,
    ex04_ranks,
    ex04_spectrum,
    ex05_linear,
    ex05_modules,
    ex06_budget,
    ex06_targets,
    ex07_batch,
    ex07_growth,
    ex07_swap,
    ex08_code,
    ex08_facts,
    ex08_head,
    ex08_layer,
    ex09_results,
    ex09_rows,
)
from lorabook.workbook.exercises.engine import Exercise, judge

BY_NOTEBOOK = {
    "00": ex00.EXERCISES,
    "01": (*ex01_memory.EXERCISES, *ex01_loss.EXERCISES),
    "02": ex02.EXERCISES,
    "03": (*ex03_transform.EXERCISES, *ex03_budget.EXERCISES),
    "04": (*ex04_ranks.EXERCISES, *ex04_spectrum.EXERCISES),
    "05": (*ex05_linear.EXERCISES, *ex05_modules.EXERCISES),
    "06": (*ex06_budget.EXERCISES, *ex06_targets.EXERCISES),
    "07": (*ex07_swap.EXERCISES, *ex07_growth.EXERCISES, *ex07_batch.EXERCISES),
    "08": (*ex08_code.EXERCISES, *ex08_head.EXERCISES, *ex08_layer.EXERCISES, *ex08_facts.EXERCISES),
    "09": (*ex09_rows.EXERCISES, *ex09_results.EXERCISES),
}
EXERCISES = {exercise.name: exercise for group in BY_NOTEBOOK.values() for exercise in group}


def check(name: str, answer: Any) -> None:
    """Print whether `answer`, your function, class or dictionary, is right; if not, what is wrong with it.

    The same answer always gets the same line. Your model, random state and gradient mode stay as they are.

    Raises:
        SettingError: there is no exercise of that name.
    """
    print(judge(_find(name), answer))


def hint(name: str) -> None:
    """Print the task and a hint. Raises SettingError if there is no exercise of that name."""
    exercise = _find(name)
    print(f"{exercise.task}\nHint: {exercise.hint}")


def solution(name: str) -> None:
    """Print an answer that passes. Raises SettingError if there is no exercise of that name."""
    print(_find(name).solution.rstrip())


def _find(name: str) -> Exercise:
    if name not in EXERCISES:
        raise SettingError(f"There is no exercise {name!r}.", f"Choose among: {', '.join(EXERCISES)}.")
    return EXERCISES[name]
