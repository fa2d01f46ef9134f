"""The settings of LoRA, read without PyTorch: what to adapt, with which rank and scaling."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from lorabook.errors import SettingError, did_you_mean, is_number, is_whole, shown

ALL_LINEAR = "all-linear"
FLOAT32 = 2.0**-126, 2.0**128 * (1 - 2.0**-24)  # its smallest normal value, its largest
LARGEST_RANK = 2**16  # an update's rank is at most the shorter side of its weight, and no model has wider layers


@dataclass(frozen=True)
class LoRAConfig:
    """What to adapt and how.

    Args:
        r: rank of the update, from 1 to 65,536.
        alpha: numerator of the scaling, a constant in r (section 4.1). It does not affect memory.
        dropout: probability of zeroing an input element on its way into A, in training only. Embeddings have none.
        targets: module names as PEFT's `target_modules` reads them: `"c_proj"` matches every module whose name is
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
            if not is_whole(r, 1, LARGEST_RANK):
                raise SettingError(
                    f"The rank r is {shown(r)}.", f"Give a whole number from 1 to {LARGEST_RANK:,}, for example r=16."
                )
        for alpha in (self.alpha, *self._pattern("alpha_pattern")):
            if not is_number(alpha) or not 0 < alpha < math.inf:
                raise SettingError(f"alpha is {shown(alpha)}.", "Give a positive number, for example alpha=2 * r.")
        try:
            fits = FLOAT32[0] <= self.scaling <= FLOAT32[1]
        except OverflowError:
            fits = False
        if not fits:
            raise SettingError(
                f"alpha is {shown(self.alpha)}, which makes a scaling that float32 cannot hold.",
                "Give a number near r, for example alpha=2 * r.",
            )
        if not is_number(self.dropout) or not 0 <= self.dropout < 1:
            raise SettingError(
                f"dropout is {shown(self.dropout)}.", "Give a probability from 0 up to, not including, 1."
            )

    def _pattern(self, name: str) -> Iterable[Any]:
        """The values of a pattern whose keys are regular expressions. Keeps a copy of it: the caller's may change."""
        pattern = getattr(self, name)
        if not isinstance(pattern, Mapping):
            raise SettingError(f"{name} is {shown(pattern)}.", 'Give values by module name, for example {"c_fc": 8}.')
        for key in pattern:
            try:
                _ends_in(key)
            except (re.error, RecursionError, OverflowError):
                raise SettingError(
                    f"{name} has the key {shown(key)}, which is no regular expression.", "Give names of modules."
                ) from None
        object.__setattr__(self, name, dict(pattern))
        return pattern.values()

    def for_module(self, name: str) -> "LoRAConfig":
        """The settings of the module `name`: its own r and alpha, and no patterns.

        Raises:
            SettingError: they make a scaling that float32 cannot hold.
        """
        if not self.rank_pattern and not self.alpha_pattern:
            return self
        r, alpha = _first_match(self.rank_pattern, name, self.r), _first_match(self.alpha_pattern, name, self.alpha)
        return replace(self, r=r, alpha=alpha, rank_pattern={}, alpha_pattern={})

    @property
    def scaling(self) -> float:
        """alpha / r, or alpha / sqrt(r) with `rslora`."""
        return self.alpha / (math.sqrt(self.r) if self.rslora else self.r)


def _first_match(pattern: Mapping[str, Any], name: str, default: Any) -> Any:
    """The value of the first key that matches `name`, as PEFT's `get_pattern_key` finds it."""
    for key, value in pattern.items():
        if _ends_in(key).match(name):
            return value
    return pattern.get(name, default)


@lru_cache(2**14)
def _ends_in(key: str) -> re.Pattern[str]:
    """A name that is `key`, a regular expression, or ends in it after a dot."""
    return re.compile(rf"(.*\.)?({key})$")


def select_names(candidates: list[str], linear: list[str], targets: tuple[str, ...], where: str) -> set[str]:
    """The names among `candidates` that `targets` match; "all-linear" matches those in `linear`.

    Raises:
        SettingError: a target matches none of them.
    """
    hits: set[str] = set()
    for target in targets:
        found = linear if target == ALL_LINEAR else [n for n in candidates if n == target or n.endswith("." + target)]
        if not found:
            exist = sorted({n.rsplit(".", 1)[-1] for n in candidates})
            raise SettingError(
                f"The target {target!r} matches no linear layer or embedding of {where}.",
                f"{did_you_mean(target, [*exist, ALL_LINEAR])}Choose among: {', '.join(exist) or 'none'}.",
            )
        hits.update(found)
    return hits
