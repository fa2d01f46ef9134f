"""Reading `adapter_config.json`, PEFT's settings of an adapter, from a stranger: what it may hold, and what it adapts.

What changes the mathematics and is not computed here is refused by name, and so is what nobody here has heard of: an
adapter that loads and computes something else is worse than one that does not load.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import regex
from torch import nn

from lorabook.errors import AdapterError, SettingError, shown
from lorabook.lora import LoRAConfig, adaptable, matched
from lorabook.lora_config import ALL_LINEAR

CONFIG_NAME = "adapter_config.json"
CONFIG_LIMIT = 2**20  # bytes; the largest that PEFT writes name every module of a model
PATTERN_SECONDS = 10.0  # for one name

# PEFT options that change what the adapter computes, with the values under which they do nothing.
INACTIVE = {
    "bias": ("none",),
    "use_dora": (False, None),
    "lora_bias": (False, None),
    "modules_to_save": (None, []),
    "layer_replication": (None, []),
    "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []),
    "ensure_weight_tying": (False, None),
    "alora_invocation_tokens": (None, []),
    "use_qalora": (False, None),
    "use_bdlora": (None, False),
    "megatron_config": (None,),
    "arrow_config": (None,),
    "kasa_config": (None,),
    "monteclora_config": (None,),
    "velora_config": (None,),
    # the others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) subtract the start from the base weights
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal", "mica"),
}
# Those with no say in what a loaded adapter computes: where it comes from, and how it was started and trained.
IGNORED = {
    *("peft_type", "peft_version", "task_type", "auto_mapping", "inference_mode", "fan_in_fan_out"),
    *("eva_config", "corda_config", "lora_ga_config", "loftq_config", "megatron_core", "qalora_group_size"),
}


def _is_name(value: Any) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= 500 and value.isprintable())


def _is_flag(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _are_texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) for v in value))


def _is_pattern(value: Any) -> bool:
    return value is None or isinstance(value, dict)


def _are_indices(value: Any) -> bool:
    return value is None or all(type(v) is int for v in (value if isinstance(value, list) else [value]))


# Those that are read. The numbers are judged by LoRAConfig.
READ: dict[str, tuple[Callable[[Any], bool], str]] = {
    "base_model_name_or_path": (_is_name, "a name"),
    "revision": (_is_name, "a name"),
    "use_rslora": (_is_flag, "true or false"),
    "target_modules": (lambda value: bool(value) and _are_texts(value), "names of modules"),
    "exclude_modules": (lambda value: value is None or _are_texts(value), "names of modules"),
    "layers_to_transform": (_are_indices, "numbers of layers"),
    "layers_pattern": (lambda value: value is None or _are_texts(value), "names of modules"),
    "rank_pattern": (_is_pattern, "ranks by module name"),
    "alpha_pattern": (_is_pattern, "numbers by module name"),
    "r": (lambda value: True, ""),
    "lora_alpha": (lambda value: True, ""),
    "lora_dropout": (lambda value: True, ""),
}


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, for `json.loads(object_pairs_hook=...)`. ValueError if a key stands in it twice: readers differ
    in which of the two they take."""
    for key, times in Counter(key for key, _ in pairs).items():
        if times > 1:
            raise ValueError(f"{shown(key)} stands in it {times} times")
    return dict(pairs)


def read_config(folder: str | Path) -> dict:
    """The `adapter_config.json` of `folder`, for an adapter that is to be loaded.

    Raises:
        AdapterError: as `read_any_config`; or an option is not known, or asks for what these layers do not compute.
    """
    stored = read_any_config(folder)
    for option, value in stored.items():
        if option in INACTIVE and value not in INACTIVE[option]:
            raise AdapterError(
                f"This adapter sets {option}={shown(value)}, which lorabook's layers do not compute.",
                "Load it with PEFT.",
            )
        if option not in INACTIVE.keys() | READ.keys() | IGNORED and value not in (None, False, "", [], {}):
            raise AdapterError(
                f"This adapter sets {shown(option)} to {shown(value)}, an option that lorabook does not know.",
                "Load it with PEFT. If the option does not change what the adapter computes, delete it from the file.",
            )
    return stored


def read_any_config(folder: str | Path) -> dict:
    """The `adapter_config.json` of `folder`, whatever else than plain LoRA it asks for.

    Raises:
        AdapterError: it is missing, unreadable or not LoRA; an option that is read has a value of the wrong kind.
    """
    path = Path(folder) / CONFIG_NAME
    if not path.is_file():
        raise AdapterError(f"There is no {CONFIG_NAME} in {folder}.", "Give the folder an adapter was saved to.")
    try:
        if path.stat().st_size > CONFIG_LIMIT:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, more than any config")
        stored = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except (OSError, ValueError, RecursionError) as e:
        raise AdapterError(
            f"{path} cannot be read ({type(e).__name__}: {e}).", "Save or download the adapter again."
        ) from None
    kind = stored.get("peft_type") if isinstance(stored, dict) else stored
    if kind != "LORA" or not isinstance(stored, dict):
        raise AdapterError(f"{path} describes {shown(kind)}, not a LoRA adapter.", "Give a LoRA adapter's folder.")
    for option, (fits, what) in READ.items():
        if (option in stored or option == "target_modules") and not fits(stored.get(option)):
            raise AdapterError(
                f"The adapter's config is not usable: {option} is {shown(stored.get(option))}, not {what}.",
                "Save or download the adapter again.",
            )
    return stored


def lora_config(stored: dict, names: tuple[str, ...]) -> LoRAConfig:
    """The settings that `read_config` read, for layers at `names`, whose whole names are the keys of its patterns.

    Raises:
        AdapterError: a number is out of range; a pattern's key is no regular expression, or takes for ever.
    """
    ranks, alphas = (_by_name(stored.get(f"{kind}_pattern") or {}, names) for kind in ("rank", "alpha"))
    try:
        config = LoRAConfig(
            r=stored["r"],
            alpha=stored["lora_alpha"],
            dropout=stored.get("lora_dropout", 0.0),
            targets=names,
            rslora=bool(stored.get("use_rslora")),
            rank_pattern={whole(name): r for name, r in ranks.items()},
            alpha_pattern={whole(name): alpha for name, alpha in alphas.items()},
        )
        for name in ranks.keys() | alphas.keys():
            config.for_module(name)
    except (KeyError, SettingError) as e:
        what = e.problem if isinstance(e, SettingError) else f"there is no {e}."
        raise AdapterError(
            f"The adapter's config is not usable: {what}", "Save or download the adapter again."
        ) from None
    return config


def whole(name: str) -> str:
    """The key of a pattern that matches the module `name` and no other."""
    return "^" + re.escape(name)


def _by_name(pattern: dict, names: tuple[str, ...]) -> dict[str, Any]:
    """The value that a pattern gives each of `names`, if any: that of its first key that matches, as in PEFT."""
    values: dict[str, Any] = {}
    if pattern:
        for value, matching in zip(
            pattern.values(), _matches(list(pattern), list(names), r"(?:.*\.)?(?:%s)"), strict=True
        ):
            values = dict.fromkeys(matching, value) | values
    return {name: pattern[name] for name in names if name in pattern} | values


def targeted(model: nn.Module, stored: dict) -> set[str]:
    """The names of the modules of `model` that a config adapts, chosen as PEFT's `check_target_module_exists` does.

    Raises:
        AdapterError: it has a pattern that is no regular expression, or one that takes for ever.
    """
    if str(stored["target_modules"]).lower() == ALL_LINEAR:
        return targeted_among(set(matched(model, (ALL_LINEAR,))), stored)
    return targeted_among({name for name, module in model.named_modules() if name and adaptable(module)}, stored)


def targeted_among(names: set[str], stored: dict) -> set[str]:
    """Those of `names`, modules that can be adapted, that a config adapts; "all-linear" stands for all of them.

    Raises:
        AdapterError: as `targeted`.
    """
    targets, excluded = stored["target_modules"], stored.get("exclude_modules") or []
    if isinstance(targets, str):
        chosen = names if targets.lower() == ALL_LINEAR else _named(names, targets)
    else:
        chosen = {name for name in _named(names, targets) if name in targets or _in_layers(name, stored)}
    return chosen - _named(names, excluded)


def _named(names: set[str], chosen: str | list[str]) -> set[str]:
    """Those of `names` that a pattern matches whole, or that are or end in one of a list."""
    if isinstance(chosen, list):
        wanted = set(chosen)
        return {name for name in names if any(end in wanted for end in ends(name))}
    return set(_matches([chosen], sorted(names))[0])


def _matches(patterns: list[str], names: list[str], around: str = "%s") -> list[list[str]]:
    """For each pattern, those of `names` that it matches whole, with `around` around it.

    By the package regex, which can give up: a stranger's pattern may backtrack for ever.
    """
    chosen = patterns[0] if len(patterns) == 1 else patterns
    try:
        compiled = [regex.compile(around % pattern) for pattern in patterns]
        return [[name for name in names if p.fullmatch(name, timeout=PATTERN_SECONDS)] for p in compiled]
    except TimeoutError:
        raise AdapterError(
            f"The config chooses modules by the pattern {shown(chosen)}, which takes for ever to try.",
            "Write the modules' names in its place.",
        ) from None
    except (regex.error, RecursionError, OverflowError) as error:
        raise AdapterError(
            f"The config chooses modules by {shown(chosen)}, which is no pattern ({str(error)[-200:]}).",
            "Write the modules' names in its place.",
        ) from None


def ends(name: str) -> list[str]:
    """What a target may be that selects the module `name`: the name, and what follows each of its dots."""
    parts = name.split(".")
    return [".".join(parts[i:]) for i in range(len(parts))]


def _in_layers(name: str, stored: dict) -> bool:
    """Whether `layers_to_transform`, if given, has the number of the layer that the module is in."""
    layers, lists = stored.get("layers_to_transform"), stored.get("layers_pattern") or []
    lists = [lists] if isinstance(lists, str) else lists
    if layers is None or layers == []:
        return True
    parts = name.split(".")
    for i in range(1 if lists else 2, len(parts) - 1):
        if parts[i].isdecimal() and (not lists or parts[i - 1] in lists):
            return int(parts[i]) in (layers if isinstance(layers, list) else [layers])
    return False
