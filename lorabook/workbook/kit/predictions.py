"""Guess first, then see: `predict` keeps the reader's guess, `reveal` sets it beside the value.

Guesses live as long as the kernel. Both print one line, the same at every run, and both may be run again.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

from lorabook.errors import did_you_mean, is_number

Guess = int | float | str


@dataclass
class _Kept:
    guess: Any
    late: bool  # made after the value was shown


_kept: dict[str, _Kept] = {}
_revealed: set[str] = set()


def predict(key: str, guess: Guess | None = None) -> None:
    """Keep a guess under `key`: a number, or text such as "twice as much". None takes an earlier guess back.

    A guess that is changed, or made, after its `reveal` is kept too, and marked as late.
    """
    if guess is None or guess is ... or not str(guess).strip():
        _kept.pop(key, None)
        print("no guess yet")
        return
    before = _kept.get(key)
    unchanged = before is not None and str(before.guess) == str(guess)
    late = before.late if unchanged and before else key in _revealed
    _kept[key] = _Kept(guess, late)
    print(f"your guess: {_text(guess)}" + (" (after the value was shown)" if late else ""))


def reveal(key: str, value: Any, unit: str = "") -> None:
    """Print the guess kept under `key` beside `value`: "✗ you said 10×, it is 1.02×: 9.8 times too large".

    A number within a tenth of the value is right. A unit of letters stands after a space ("16.9 GiB"), a sign such as
    ×, x or % does not. A guess in words that are no number stands as it was written.
    """
    _revealed.add(key)
    right = _text(value, unit)
    kept = _kept.get(key)
    if kept is None:
        near = did_you_mean(str(key), map(str, _kept))
        print(f"no guess{f' under {key!r}: {near}It' if near else ': it'} is {right}")
        return
    late = " (after the value was shown)" if kept.late else ""
    guess, number = number_of(kept.guess, unit), number_of(value)
    close = is_number(guess) and is_number(number) and math.isclose(guess, number, rel_tol=0.1)
    off = "" if close else off_by(guess, number)
    mark = "✓" if close or _text(guess) == _text(number) else "✗"
    print(f"{mark} you said {_text(kept.guess, unit)}{late}, it is {right}{': ' * bool(off)}{off}")


def off_by(guess: Any, value: Any) -> str:
    """How far a number is from another one, as a factor where both are positive; "" where one is no number."""
    if not is_number(guess) or not is_number(value) or not math.isfinite(guess) or not math.isfinite(value):
        return ""
    too = "large" if guess > value else "small"
    if guess <= 0 or value <= 0:
        return f"{abs(guess - value):,.3g} too {too}"
    factor = max(guess / value, value / guess)
    return f"{abs(guess / value - 1):.0%} too {too}" if factor < 1.95 else f"{factor:,.2g} times too {too}"


def _text(value: Any, unit: str = "") -> str:
    """A number to three digits, or whole if it is whole or large, with its unit; words as they are."""
    number = number_of(value, unit)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return str(number)
    whole = isinstance(number, int) or (abs(number) >= 1000 and abs(number) < 1e15)
    text = f"{number:,.0f}" if whole else f"{number:.3g}"
    return text + (f" {unit}" if unit[:1].isalpha() and unit != "x" else unit)


def number_of(value: Any, unit: str = "") -> Any:
    """The number that `value` is or writes, commas between its thousands and the unit allowed; else `value` itself."""
    value = value.item() if getattr(value, "ndim", None) == 0 else value  # of NumPy or PyTorch
    if not isinstance(value, str):
        return value
    text = value.strip().removesuffix(unit).strip()
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", text):
        text = text.replace(",", "")
    try:
        number = float(text)
    except ValueError:
        return value
    return int(number) if number.is_integer() else number
