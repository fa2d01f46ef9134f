"""What a family of faults reports."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`fault`, put in `tries` times; `outcome` says what happened, and `passed` whether that is what is promised."""

    fault: str
    tries: int
    outcome: str
    passed: bool
