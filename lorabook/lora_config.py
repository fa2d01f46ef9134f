"""What LoRA is to adapt and how: rank, scaling, dropout, and the modules that have a rank or alpha of their own."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch

from lorabook.errors import SettingError, shown

ALL_LINEAR = "all-linear"
LARGEST_RANK = 2**16  # an update's rank is at most the shorter side of its weight, and no model has wider layers
FP32 = torch.finfo(torch.float32)


@dataclass(frozen=True)
class LoRAConfig:
    """What to adapt and how.

    Args:
        r: rank of the update, from 1 to 65,536.
        alpha: numerator of the scaling, a constant in r (section 4.1). It moves no byte of memory.
        dropout: probability of zeroing an input element on its way into A, in training only. Embeddings have none.
        targets: module names as PEFT's `target_modules` reads them: `"c_proj"` hits every module whose name is
            `c_proj` or ends in `.c_proj`. `"all-linear"` stands for every linear layer but the output head.
        rslora: use alpha / sqrt(r) (Kalajdzievski 2023, arXiv 2312.03732) in place of alpha / r.
        seed: of the generator that draws A (of embeddings: B). The global random state is left alone.
        rank_pattern: another r for some modules, as in PEFT: the first key that matches the end of a module's name,
            whole parts of it, as a regular expression: `{"c_fc": 8, r"h\\.0\\..*": 4}`.
        alpha_pattern: another alpha for some modules, by the same rule.

    Raises:
        SettingError: a value out of its range.
    """

    r: int = 16
    alpha: float = 32
    dropout: float = 0.0
    targets: tuple[str, ...] = (ALL_LINEAR,)
    rslora: bool = False
    seed: int = 0
    rank_pattern: Mapping[str, int] = field(default_factory=dict, hash=False)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        targets = (self.targets,) if isinstance(self.targets, str) else self.targets
        if not isinstance(targets, Iterable) or not (targets := tuple(targets)):
            raise SettingError(f"targets is {self.targets!r}.", "Name at least one module, or 'all-linear'.")
        if not all(isinstance(t, str) and t for t in targets):
            raise SettingError(f"targets is {self.targets!r}.", "Give names of modules, or 'all-linear'.")
        object.__setattr__(self, "targets", targets)
        for r in (self.r, *self._pattern("rank_pattern")):
            if isinstance(r, bool) or not isinstance(r, int) or not 1 <= r <= LARGEST_RANK:
                raise SettingError(
                    f"The rank r is {shown(r)}.", f"Give a whole number from 1 to {LARGEST_RANK:,}, for example r=16."
                )
        for alpha in (self.alpha, *self._pattern("alpha_pattern")):
            if not _is_number(alpha) or not 0 < alpha < math.inf:
                raise SettingError(f"alpha is {shown(alpha)}.", "Give a positive number, for example alpha=2 * r.")
        try:
            fits = FP32.tiny <= self.scaling <= FP32.max
        except OverflowError:
            fits = False
        if not fits:
            raise SettingError(
                f"alpha is {shown(self.alpha)}, which makes a scaling that float32 cannot hold.",
                "Give a number near r, for example alpha=2 * r.",
            )
        if not _is_number(self.dropout) or not 0 <= self.dropout < 1:
            raise SettingError(
                f"dropout is {shown(self.dropout)}.", "Give a probability from 0 up to, not including, 1."
            )

    def _pattern(self, name: str) -> Iterable[Any]:
        """The values of a pattern, after a look at its keys."""
        pattern = getattr(self, name)
        if not isinstance(pattern, Mapping):
            raise SettingError(f"{name} is {shown(pattern)}.", 'Give values by module name, for example {"c_fc": 8}.')
        for key in pattern:
            try:
                _end(key)
            except (re.error, RecursionError, OverflowError):
                raise SettingError(
                    f"{name} has the key {shown(key)}, which is no regular expression.", "Give names of modules."
                ) from None
        object.__setattr__(self, name, dict(pattern))
        return pattern.values()

    def at(self, name: str) -> "LoRAConfig":
        """The settings of the module `name`: its own r and alpha, and no patterns.

        Raises:
            SettingError: they make a scaling that float32 cannot hold.
        """
        if not self.rank_pattern and not self.alpha_pattern:
            return self
        r, alpha = _at(self.rank_pattern, name, self.r), _at(self.alpha_pattern, name, self.alpha)
        return replace(self, r=r, alpha=alpha, rank_pattern={}, alpha_pattern={})

    @property
    def scaling(self) -> float:
        """alpha / r, or alpha / sqrt(r) with `rslora`."""
        return self.alpha / (math.sqrt(self.r) if self.rslora else self.r)


def _at(pattern: Mapping[str, Any], name: str, default: Any) -> Any:
    """The value of the first key that matches `name`, as PEFT's `get_pattern_key` finds it."""
    for key, value in pattern.items():
        if _end(key).match(name):
            return value
    return pattern.get(name, default)


@lru_cache(2**14)
def _end(key: str) -> re.Pattern[str]:
    """A name that is `key`, a regular expression, or ends in it after a dot."""
    return re.compile(rf"(.*\.)?({key})$")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
