"""The number that a guess names, beside the right one."""

import math
import re
from typing import Any

from lorabook.errors import is_number

POWERS = {None: 1, "thousand": 1e3, "million": 1e6, "billion": 1e9}
NUMBER = re.compile(r"(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(e[+-]?\d+)?(?: (thousand|million|billion))?")


def amount(said: Any) -> float | None:
    """The number that a guess or a choice is or names: 70_000, "70,000", "about 70 thousand", "2.1 GiB"; else None."""
    number = said.item() if getattr(said, "ndim", None) == 0 else said  # of NumPy or PyTorch
    if is_number(number) and math.isfinite(number):
        return number
    found = NUMBER.search(number) if isinstance(number, str) else None
    if not found:
        return None
    return float(found[1].replace(",", "") + (found[2] or "") + (found[3] or "")) * POWERS[found[4]]


def off_by(guess: float, value: float) -> str:
    """How far a guess is from a positive value: as a factor, as a share below twice, else as a distance."""
    too = "large" if guess > value else "small"
    if guess <= 0:
        return f"{value - guess:,.3g} too {too}"
    factor = max(guess / value, value / guess)
    return f"{abs(guess / value - 1):.0%} too {too}" if factor < 1.95 else f"{factor:,.2g} times too {too}"
