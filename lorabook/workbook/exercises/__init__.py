"""The exercises of the notebooks: `check` an answer, ask for a `hint`, see a `solution`."""

from typing import Any

from lorabook.errors import SettingError
from lorabook.workbook.clinic import exercises_code as ex08_code
from lorabook.workbook.clinic import exercises_facts as ex08_facts
from lorabook.workbook.clinic import exercises_head as ex08_head
from lorabook.workbook.clinic import exercises_layer as ex08_layer
from lorabook.workbook.fastfood import exercises_budget as ex03_budget
from lorabook.workbook.fastfood import exercises_transform as ex03_transform
from lorabook.workbook.final_run import exercises_results as ex09_results
from lorabook.workbook.final_run import exercises_rows as ex09_rows
from lorabook.workbook.from_scratch import exercises_linear as ex05_linear
from lorabook.workbook.from_scratch import exercises_modules as ex05_modules
from lorabook.workbook.intrinsic_dimension import exercises as ex02
from lorabook.workbook.kit.engine import Exercise, judge
from lorabook.workbook.low_rank import exercises_ranks as ex04_ranks
from lorabook.workbook.low_rank import exercises_spectrum as ex04_spectrum
from lorabook.workbook.many_tasks import exercises_batch as ex07_batch
from lorabook.workbook.many_tasks import exercises_growth as ex07_growth
from lorabook.workbook.many_tasks import exercises_swap as ex07_swap
from lorabook.workbook.memory import exercises_loss as ex01_loss
from lorabook.workbook.memory import exercises_memory as ex01_memory
from lorabook.workbook.rank_and_alpha import exercises_budget as ex06_budget
from lorabook.workbook.rank_and_alpha import exercises_targets as ex06_targets
from lorabook.workbook.start import exercises as ex00

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
