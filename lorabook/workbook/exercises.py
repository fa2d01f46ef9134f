"""The exercises of the notebooks: `check` an answer, ask for a `hint`, see a `solution`, look at your `progress`."""

from typing import Any

from lorabook.errors import SettingError
from lorabook.workbook.clinic import exercises as clinic
from lorabook.workbook.fastfood import exercises as fastfood
from lorabook.workbook.from_scratch import exercises as from_scratch
from lorabook.workbook.intrinsic_dimension import exercises as intrinsic_dimension
from lorabook.workbook.kit import kept
from lorabook.workbook.kit.exercise import Exercise, judge
from lorabook.workbook.low_rank import exercises as low_rank
from lorabook.workbook.many_tasks import exercises as many_tasks
from lorabook.workbook.memory import exercises as memory
from lorabook.workbook.rank_and_alpha import exercises as rank_and_alpha
from lorabook.workbook.start import exercises as start

FILE = "exercises.json"
# By room of the workbook, in the order of the notebooks
BY_ROOM = {
    "start": start.EXERCISES,
    "from_scratch": from_scratch.EXERCISES,
    "memory": memory.EXERCISES,
    "rank_and_alpha": rank_and_alpha.EXERCISES,
    "low_rank": low_rank.EXERCISES,
    "intrinsic_dimension": intrinsic_dimension.EXERCISES,
    "fastfood": fastfood.EXERCISES,
    "many_tasks": many_tasks.EXERCISES,
    "clinic": clinic.EXERCISES,
}
EXERCISES = {exercise.name: exercise for group in BY_ROOM.values() for exercise in group}


def check(name: str, answer: Any) -> None:
    """Print whether `answer`, your function, class or dictionary, is right; if not, what is wrong with it.

    The same answer always gets the same line. Your model, random state and gradient mode stay as they are. Code that
    still runs after 20 seconds is stopped. What is solved is kept for `progress`.

    Raises:
        SettingError: there is no exercise of that name.
    """
    line = judge(_find(name), answer)
    print(line)
    if line.startswith("✓") and name not in kept.read(FILE):
        kept.keep(FILE, name, True)


def hint(name: str) -> None:
    """Print the task and a hint. Raises SettingError if there is no exercise of that name."""
    exercise = _find(name)
    print(f"{exercise.task}\nHint: {exercise.hint}")


def solution(name: str) -> None:
    """Print an answer that passes. Raises SettingError if there is no exercise of that name."""
    print(_find(name).solution.rstrip())


def progress() -> None:
    """Print the exercises of every notebook, with a ✓ before those solved in this session or an earlier one."""
    solved = kept.read(FILE)
    for number, exercises in enumerate(BY_ROOM.values()):
        print(f"{number:02}  " + "  ".join(f"{'✓' if e.name in solved else '·'} {e.name}" for e in exercises))
    print(f"{sum(name in solved for name in EXERCISES)} of {len(EXERCISES)} solved")


def _find(name: str) -> Exercise:
    if name not in EXERCISES:
        raise SettingError(f"There is no exercise {name!r}.", f"Choose among: {', '.join(EXERCISES)}.")
    return EXERCISES[name]
