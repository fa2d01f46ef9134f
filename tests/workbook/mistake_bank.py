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
    from tests.workbook.clinic import mistakes_code as mistakes_08_code
    from tests.workbook.clinic import mistakes_models as mistakes_08_models
    from tests.workbook.fastfood import mistakes as mistakes_03
    from tests.workbook.final_run import mistakes as mistakes_09
    from tests.workbook.from_scratch import mistakes_linear as mistakes_05_linear
    from tests.workbook.from_scratch import mistakes_modules as mistakes_05_modules
    from tests.workbook.intrinsic_dimension import mistakes as mistakes_02
    from tests.workbook.low_rank import mistakes as mistakes_04
    from tests.workbook.many_tasks import mistakes_adapters as mistakes_07_adapters
    from tests.workbook.many_tasks import mistakes_serving as mistakes_07_serving
    from tests.workbook.memory import mistakes as mistakes_01
    from tests.workbook.rank_and_alpha import mistakes_budget as mistakes_06_budget
    from tests.workbook.rank_and_alpha import mistakes_targets as mistakes_06_targets
    from tests.workbook.start import mistakes as mistakes_00

    files = (
        *(mistakes_00, mistakes_01, mistakes_02, mistakes_03, mistakes_04, mistakes_05_linear, mistakes_05_modules),
        *(mistakes_06_budget, mistakes_06_targets, mistakes_07_adapters, mistakes_07_serving, mistakes_08_code),
        *(mistakes_08_models, mistakes_09),
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
