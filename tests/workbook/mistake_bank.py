"""The mistake bank: wrong answers to the exercises as people write them, and what each must be told.

One file a notebook adds its own with `@wrong(exercise, fragment)`; the function's or class's name says what it does
wrong. `fragment` is a piece of the one message that fits. Values go in with `bank.add`. `load` and `said` are what the
tests of the exercises share.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lorabook.workbook.exercises import check


@dataclass(frozen=True)
class Wrong:
    """A wrong answer to `exercise`, and a piece of the message it must be given."""

    exercise: str
    label: str
    fragment: str
    answer: Any


class Bank(list[Wrong]):
    """The wrong answers of one notebook."""

    def add(self, exercise: str, label: str, fragment: str, answer: Any) -> None:
        super().append(Wrong(exercise, label, fragment, answer))

    def wrong(self, exercise: str, fragment: str) -> Callable[[Any], Any]:
        """Decorator: the function or class below is a wrong answer."""

        def record(answer: Any) -> Any:
            self.add(exercise, re.sub(r"_|(?<=[a-z])(?=[A-Z])", " ", answer.__name__).lower(), fragment, answer)
            return answer

        return record


def whole_bank() -> list[Wrong]:
    """Every notebook's wrong answers."""
    from tests.workbook.clinic import mistakes_code as clinic_code
    from tests.workbook.clinic import mistakes_models as clinic_models
    from tests.workbook.fastfood import mistakes as fastfood
    from tests.workbook.final_run import mistakes as final
    from tests.workbook.from_scratch import mistakes_linear as scratch_linear
    from tests.workbook.from_scratch import mistakes_modules as scratch_modules
    from tests.workbook.intrinsic_dimension import mistakes as dimension
    from tests.workbook.low_rank import mistakes as low_rank
    from tests.workbook.many_tasks import mistakes_adapters as tasks_adapters
    from tests.workbook.many_tasks import mistakes_serving as tasks_serving
    from tests.workbook.memory import mistakes as memory
    from tests.workbook.rank_and_alpha import mistakes_budget as rank_budget
    from tests.workbook.rank_and_alpha import mistakes_targets as rank_targets
    from tests.workbook.start import mistakes as start

    files = (
        *(start, memory, dimension, fastfood, low_rank, scratch_linear, scratch_modules),
        *(rank_budget, rank_targets, tasks_adapters, tasks_serving, clinic_code),
        *(clinic_models, final),
    )
    return [wrong for file in files for wrong in file.bank]


def load(source: str) -> Any:
    """What a cell with this source defines last: the learner's function, class or dictionary."""
    space: dict[str, Any] = {}
    exec(compile(source, "cell", "exec"), space)
    return list(space.values())[-1]


def said(capsys, name: str, answer: Any) -> str:
    """The one line that `check` prints about `answer`."""
    check(name, answer)
    out, err = capsys.readouterr()
    assert err == "" and out.endswith("\n") and out.count("\n") == 1 and "Traceback" not in out
    return out.strip()
