"""The mistake bank: wrong answers to the exercises as people write them, and what each must be told.

The `mistakes.py` of each room adds its own with `@wrong(exercise, fragment)`; the function's or class's name says what
it does wrong. `fragment` is a piece of the one message that fits. Values go in with `bank.add`. `load` and `said` are
what the tests of the exercises share. The `spellings.py` of each room holds right answers in the same way.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from lorabook.workbook.exercises import BY_ROOM, check


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


class Spellings(list[tuple[str, str, Any]]):
    """Right answers of one notebook, written otherwise than its solutions: exercise, what is different, the answer."""

    def right(self, exercise: str) -> Callable[[Any], Any]:
        """Decorator: the function or class below is a right answer."""

        def record(answer: Any) -> Any:
            self.add(exercise, answer.__name__, answer)
            return answer

        return record

    def add(self, exercise: str, label: str, answer: Any) -> None:
        super().append((exercise, label, answer))


def all_spellings() -> list[tuple[str, str, Any]]:
    """The right answers of every room."""
    rooms = [import_module(f"tests.workbook.{room}.spellings") for room in BY_ROOM]
    return [spelling for room in rooms for spelling in room.spellings]


def whole_bank() -> list[Wrong]:
    """The wrong answers of every room."""
    rooms = [import_module(f"tests.workbook.{room}.mistakes") for room in BY_ROOM]
    return [wrong for room in rooms for wrong in room.bank]


def load(source: str) -> Any:
    """What a cell with this source defines last: the learner's function, class or dictionary."""
    space: dict[str, Any] = {}
    exec(compile(source, "cell", "exec"), space)
    return list(space.values())[-1]


def said(capsys, name: str, answer: Any) -> str:
    """The one line that `check` prints about `answer`, in less than two seconds of processor time."""
    start = time.process_time()
    check(name, answer)
    assert time.process_time() - start < 2
    out, err = capsys.readouterr()
    assert err == "" and out.endswith("\n") and out.count("\n") == 1 and "Traceback" not in out
    return out.strip()
