"""The exercises of the notebooks: `check` an answer, ask for a `hint`, see a `solution`."""

from typing import Any

from lorabook.errors import SettingError
from lorabook.workbook.clinic import exercises_code as clinic_code
from lorabook.workbook.clinic import exercises_facts as clinic_facts
from lorabook.workbook.clinic import exercises_head as clinic_head
from lorabook.workbook.clinic import exercises_layer as clinic_layer
from lorabook.workbook.fastfood import exercises_budget as fastfood_budget
from lorabook.workbook.fastfood import exercises_transform as fastfood_transform
from lorabook.workbook.final_run import exercises_results as final_results
from lorabook.workbook.final_run import exercises_rows as final_rows
from lorabook.workbook.from_scratch import exercises_linear as scratch_linear
from lorabook.workbook.from_scratch import exercises_modules as scratch_modules
from lorabook.workbook.intrinsic_dimension import exercises as dimension
from lorabook.workbook.kit.engine import Exercise, judge
from lorabook.workbook.low_rank import exercises_ranks as low_rank_ranks
from lorabook.workbook.low_rank import exercises_spectrum as low_rank_spectrum
from lorabook.workbook.many_tasks import exercises_batch as tasks_batch
from lorabook.workbook.many_tasks import exercises_growth as tasks_growth
from lorabook.workbook.many_tasks import exercises_swap as tasks_swap
from lorabook.workbook.memory import exercises_loss as memory_loss
from lorabook.workbook.memory import exercises_memory as memory_bytes
from lorabook.workbook.rank_and_alpha import exercises_budget as rank_budget
from lorabook.workbook.rank_and_alpha import exercises_targets as rank_targets
from lorabook.workbook.start import exercises as start

# By room of the workbook, in the order of the notebooks
BY_ROOM = {
    "start": start.EXERCISES,
    "from_scratch": (*scratch_linear.EXERCISES, *scratch_modules.EXERCISES),
    "memory": (*memory_bytes.EXERCISES, *memory_loss.EXERCISES),
    "rank_and_alpha": (*rank_budget.EXERCISES, *rank_targets.EXERCISES),
    "low_rank": (*low_rank_ranks.EXERCISES, *low_rank_spectrum.EXERCISES),
    "intrinsic_dimension": dimension.EXERCISES,
    "fastfood": (*fastfood_transform.EXERCISES, *fastfood_budget.EXERCISES),
    "many_tasks": (*tasks_swap.EXERCISES, *tasks_growth.EXERCISES, *tasks_batch.EXERCISES),
    "clinic": (*clinic_code.EXERCISES, *clinic_head.EXERCISES, *clinic_layer.EXERCISES, *clinic_facts.EXERCISES),
    "final_run": (*final_rows.EXERCISES, *final_results.EXERCISES),
}
EXERCISES = {exercise.name: exercise for group in BY_ROOM.values() for exercise in group}


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
