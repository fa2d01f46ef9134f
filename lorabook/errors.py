"""The errors a user can meet: one sentence on what is wrong with the value seen, one on what to do next.

Beside them stand the questions about a value that precede them.
"""

import reprlib
from collections.abc import Iterable
from difflib import get_close_matches

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 120
_REPR.maxlong = 60


def shown(value: object) -> str:
    """`repr` of a stranger's value for a message: cut in length and depth, and free of control characters."""
    try:
        return _REPR.repr(value)
    except ValueError:  # Python writes out no integer of more than 4,300 digits
        return f"{type(value).__name__} of too many digits"


def is_number(value: object) -> bool:
    """Whether `value` is an int or a float; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_whole(value: object, least: int, most: float = float("inf")) -> bool:
    """Whether `value` is an int from `least` to `most`; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to put before the advice where `name` is nearly one of `known`; "" where it is not."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"Did you mean {near[0]}? " if near else ""


class LorabookError(Exception):
    """Base of every error that a user can cause or meet. `problem` and `advice` are the two sentences of its text."""

    def __init__(self, problem: str, advice: str):
        super().__init__(f"{problem} {advice}")
        self.problem, self.advice = problem, advice


class SettingError(LorabookError, ValueError):
    """A setting that cannot be used: a rank below 1, a target that matches nothing, LoRA applied twice."""


class AdapterError(LorabookError, ValueError):
    """An adapter file that does not fit the model, or is damaged."""


class DataError(LorabookError, ValueError):
    """Rows that cannot be read, or too few of them."""


class CheckpointError(LorabookError, RuntimeError):
    """A checkpoint that is damaged, or belongs to another run."""


class SaveError(LorabookError, OSError):
    """A result that cannot be written: no space, no permission, or another process that writes there."""


class TrainingError(LorabookError, RuntimeError):
    """A run that cannot go on: the loss is not finite, or no micro-batch fits into memory."""


class ModelError(LorabookError, RuntimeError):
    """A model that cannot be had: unknown name, unsafe format, too little memory."""


class NoTokenError(ModelError):
    """A gated model, and no access token."""


class LicenceError(ModelError):
    """A gated model whose licence this account has not accepted."""


class NetworkError(ModelError):
    """The hub cannot be reached, or keeps refusing."""
