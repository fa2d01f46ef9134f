"""How an answer is judged: it is tried beside a reference, and a mistake is known by what it computes.

An exercise holds probes. A probe takes an answer and returns what it saw, label by label: values, whose labels begin
with "for" ("for d = 6, k = 4": 2), or facts, which hold or do not ("W itself is left as it was": True). The first probe
at which the answer differs from the reference decides. Where a known wrong answer also fails first at that probe, and
in the same way, the learner is told that mistake. Then comes the smallest input at which values differ, with both. So
the wrong answers of an exercise must differ where they first fail.
"""

import contextlib
import copy
import linecache
import math
import random
import re
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lorabook.workbook.kit.time_limit import TimeIsUp, time_limit

Probe = Callable[[Any], dict[str, Any]]

# The largest difference that is rounding, as a share of the largest number; half precision is compared exactly.
ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4}
SECONDS = 20.0  # after which an answer is stopped
LIBRARIES = (str(Path(__file__).parents[2]), sysconfig.get_path("stdlib"))  # code that no reader wrote


@dataclass(frozen=True)
class Mistake:
    """A mistake worth naming: what the learner is told, and the wrong answers that are told so."""

    message: str
    wrong: tuple[Any, ...]


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Args:
        name: what `check` is given.
        task: what is to be done, in a line.
        stub: source of the cell to be filled in. A function raises NotImplementedError; a dictionary holds `...`.
        hint: a push in the right direction.
        solution: source of an answer that passes, which can stand in a cell of its own.
        praise: the sentence beside the tick.
        reference: a right answer: a function, a class or a dictionary.
        probes: what is tried, in this order.
        mistakes: wrong answers with their messages.
    """

    name: str
    task: str
    stub: str
    hint: str
    solution: str
    praise: str
    reference: Any
    probes: tuple[Probe, ...]
    mistakes: tuple[Mistake, ...]

    @property
    def any_dtype(self) -> bool:
        """Whether floating-point answers may have another dtype than the reference's: the text promises none."""
        return "dtype" not in self.stub


@dataclass(frozen=True)
class Raised:
    """What an answer raised in place of a value, and the line of the reader's own code that did."""

    kind: str
    text: str
    line: str = field(default="", compare=False)

    @classmethod
    def of(cls, error: Exception) -> "Raised":
        text = re.sub(r" at 0x[0-9a-f]+", "", " ".join(str(error).split()))  # one line; addresses differ between runs
        frames = traceback.extract_tb(error.__traceback__)
        own = [at for at in frames if not at.filename.startswith(LIBRARIES) and "-packages" not in at.filename]
        return cls(type(error).__name__, _cut(text, 160), _place(own[-1]) if own else "")

    def __str__(self) -> str:
        return (f"{self.kind}: {self.text}" if self.text else self.kind) + self.line


def _place(at: traceback.FrameSummary) -> str:
    code = linecache.getline(at.filename, at.lineno or 0).strip()
    return f" (line {at.lineno}: {_cut(code, 80)})" if code else f" (line {at.lineno})"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


# Trying an answer


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """Leave the learner's session as it is: random states, gradient mode, default device, warning filters."""
    states = random.getstate(), np.random.get_state()
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    try:
        with (
            torch.random.fork_rng(devices=gpus),
            torch.inference_mode(False),  # turns gradients on, too
            torch.device("cpu"),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def observe(probe: Probe, answer: Any) -> dict[str, Any]:
    """What `probe` sees of `answer`, always with the same random numbers."""
    random.seed(0)
    np.random.seed(0)
    torch.default_generator.manual_seed(0)  # torch.manual_seed would reach the GPUs too
    try:
        return {label: plain(value) for label, value in probe(answer).items()}
    except Exception as error:
        return {"": Raised.of(error)}


def attempt(answer: Callable, *arguments: Any) -> Any:
    """answer(*arguments), or what it raised. The answer gets copies: what it does to them is without effect."""
    try:
        return answer(*copy.deepcopy(arguments))
    except Exception as error:
        return Raised.of(error)


def cases(label: Callable[..., str], *arguments: tuple) -> Probe:
    """A probe that tries the answer on several arguments; `label` describes each, beginning with "for"."""
    return lambda answer: {label(*a): attempt(answer, *a) for a in arguments}


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal numbers from a generator of their own."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, device="cpu").to(dtype)


# Comparing


def plain(value: Any) -> Any:
    """`value` with tuples as lists, and tensors and arrays that hold one number as that number."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        return value.detach().cpu() if value.ndim else value.item()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    return value


def same(seen: Any, expected: Any, any_dtype: bool = False) -> bool:
    """Whether two plain values are equal but for rounding, that of the coarser dtype where `any_dtype` will do.

    A tensor may stand for a list of numbers. A whole number is another one than its
    neighbour, however large.
    """
    if isinstance(expected, dict):
        return (
            isinstance(seen, dict)
            and seen.keys() == expected.keys()
            and all(same(seen[k], expected[k], any_dtype) for k in seen)
        )
    if isinstance(expected, list):
        seen = seen.tolist() if isinstance(seen, Tensor) else seen
        if not isinstance(seen, list) or len(seen) != len(expected):
            return False
        return all(same(s, e, any_dtype) for s, e in zip(seen, expected))
    if isinstance(expected, Tensor):
        return _alike(seen, expected, any_dtype) and _distance(seen, expected) <= max(
            ROUNDING.get(t.dtype, 0) for t in (seen, expected)
        )
    if isinstance(seen, (int, float)) and isinstance(expected, (int, float)):
        if isinstance(expected, int) and abs(seen - expected) > 0.4:  # another count, however close
            return False
        return math.isclose(seen, expected, rel_tol=1e-5) or (seen != seen and expected != expected)
    return type(seen) is type(expected) and seen == expected


def _alike(seen: Any, expected: Tensor, any_dtype: bool) -> bool:
    if not isinstance(seen, Tensor) or seen.shape != expected.shape:
        return False
    both_floating = seen.is_floating_point() and expected.is_floating_point()
    return seen.dtype == expected.dtype or (any_dtype and both_floating)


def _distance(a: Tensor, b: Tensor) -> float:
    """The largest difference as a share of b's largest number; infinite if one is finite and the other not."""
    a, b = a.double(), b.double()
    if bool((a.isfinite() != b.isfinite()).any()):
        return math.inf
    a, b = a.nan_to_num(0, 0, 0), b.nan_to_num(0, 0, 0)
    return ((a - b).abs().max() / b.abs().max().clamp(min=0.01)).item() if a.numel() else 0.0


# The verdict


def judge(exercise: Exercise, answer: Any) -> str:
    """The line that `check` prints."""
    name, reference = exercise.name, exercise.reference
    not_attempted = f"{name}: not attempted yet. hint({name!r}) helps, solution({name!r}) shows an answer."
    if answer is None or answer is ...:
        return not_attempted
    if isinstance(answer, dict) != isinstance(reference, dict) or callable(answer) != callable(reference):
        kind = "dictionary" if isinstance(reference, dict) else "function or class"
        return f"✗ {name}: give the {kind} itself, not {describe(answer)}."
    if isinstance(answer, dict) and answer and all(v is ... for v in answer.values()):
        return not_attempted
    try:
        with untouched(), time_limit(SECONDS):
            failure = first_failure(exercise, answer)
    except TimeIsUp:
        return f"✗ {name}: your code was stopped after {SECONDS:g} seconds. Is there a loop that never ends?"
    except KeyboardInterrupt:
        return f"{name}: stopped. Nothing was checked."
    if failure is None:
        return f"✓ {name}: {exercise.praise}"
    if any(isinstance(v, Raised) and v.kind == "NotImplementedError" for v in failure[1].values()):
        return not_attempted
    place, seen = failure
    with untouched():
        expected = observe(exercise.probes[place], reference)
        told = _known_mistake(exercise, failure)
    difference = _difference(seen, expected, exercise)
    if told and difference.startswith("for ") and not isinstance(reference, dict):
        return f"✗ {name}: {told} F{difference[1:]}"
    return f"✗ {name}: {told or difference}"


def _known_mistake(exercise: Exercise, failure: tuple[int, dict[str, Any]]) -> str | None:
    for mistake in exercise.mistakes:
        if any(same(plain(failure), plain(first_failure(exercise, wrong))) for wrong in mistake.wrong):
            return mistake.message
    return None


def first_failure(exercise: Exercise, answer: Any) -> tuple[int, dict[str, Any]] | None:
    """The place of the first probe at which `answer` differs from the reference, and what was seen there."""
    for place, probe in enumerate(exercise.probes):
        seen = observe(probe, answer)
        if not same(seen, observe(probe, exercise.reference), exercise.any_dtype):
            return place, seen
    return None


def _difference(seen: dict[str, Any], expected: dict[str, Any], exercise: Exercise) -> str:
    """The smallest input at which the two differ, or the first fact that does not hold, in words."""
    if isinstance(seen.get(""), Raised):
        return f"your code raised {seen['']}"
    apart = [key for key in expected if key not in seen or not same(seen[key], expected[key], exercise.any_dtype)]
    inputs = [key for key in apart if key.startswith("for ")]
    label = min(inputs, key=_size) if apart[0] in inputs else apart[0]
    mine, right = seen.get(label), expected[label]
    if isinstance(mine, Raised):
        return f"{label} your code raised {mine}"
    if right is True and not label.startswith("for "):
        return f"this does not hold: {label}."
    if mine is ...:
        return f"{label} is still to be filled in."
    if isinstance(exercise.reference, dict):
        return f"{label} is not {describe(mine)}."
    if mine is None:
        return f"{label} your code gives None. Is a `return` missing?"
    if isinstance(right, Tensor) and _alike(mine, right, exercise.any_dtype):
        gaps = (mine.double() - right.double()).abs().nan_to_num(math.inf, math.inf)
        where = [int(i) for i in torch.unravel_index(gaps.argmax(), gaps.shape)]
        a, b = mine[*where].item(), right[*where].item()
        return f"{label} your code gives {a:.4g} at {where}, expected {b:.4g}."
    if isinstance(right, list) and isinstance(mine, Tensor):
        mine = mine.tolist()
    return f"{label} your code gives {describe(mine)}, expected {describe(right)}."


def _size(label: str) -> int:
    """The largest number in the description of an input."""
    return max(map(int, re.findall(r"\d+", re.sub(r"(?<=\d),(?=\d)", "", label))), default=0)


def describe(value: Any) -> str:
    """A value in a few words that are the same in every run."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} in {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, (int, str)):
        return f"{value:,}" if type(value) is int else repr(value)
    if isinstance(value, list):
        inner = ", ".join(map(describe, value))
        return f"[{inner}]" if len(inner) <= 120 else f"[{inner[:120]}…]"
    return f"an object of type {type(value).__name__}"
