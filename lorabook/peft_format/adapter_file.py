"""Adapter files in PEFT's format: `adapter_config.json` beside `adapter_model.safetensors`, written without PEFT.

Key layout (peft `save_pretrained`, read in 0.21): `base_model.model.<module>.lora_A.weight` (r, k) and
`.lora_B.weight` (d, r) for linear layers, `.lora_embedding_A` (r, vocabulary) and `.lora_embedding_B` (width, r) for
embeddings. A fingerprint of the base weights travels in the safetensors header, where PEFT does not look.
"""

import contextlib
import json
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lorabook.atomic import replace_text, sync, write_tensors
from lorabook.errors import AdapterError, SaveError, SettingError, shown
from lorabook.lora import (
    LoRAEmbedding,
    Report,
    adaptable,
    adapters_of,
    base_values,
    gathered,
    is_sharded,
    layer_shape,
    lora_layers,
    wrap,
)
from lorabook.models.quantized import packed_layers
from lorabook.peft_format.adapter_config import CONFIG_NAME, ends, lora_config, once, read_config, targeted, whole
from lorabook.peft_format.fingerprint import Fingerprint
from lorabook.peft_format.limits import ignored_by_peft, lost_in_peft

WEIGHTS_NAME, CHAT_TEMPLATE_NAME = "adapter_model.safetensors", "chat_template.jinja"
PREFIX = "base_model.model."  # of every tensor's name
BASE = "lorabook_base"  # the header's entry on the base
COMPILED = "_orig_mod."  # what `torch.compile` puts into the names of a model's modules
FACTORS = {  # end of a tensor's name: which factor it is, and whether of an embedding
    "lora_A.weight": ("A", False),
    "lora_B.weight": ("B", False),
    "lora_embedding_A": ("A", True),
    "lora_embedding_B": ("B", True),
}
BASES = {"base_layer.weight": "weight", "base_layer.bias": "bias"}
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)  # in which factors are stored


def save(
    model: nn.Module,
    folder: str | Path,
    base_name: str | None = None,
    revision: str | None = None,
    chat_template: str | None = None,
) -> Path:
    """Write the LoRA layers of `model` to `folder`, each file replaced whole or not at all.

    Of a sharded model the values are gathered: every process must call, and the first one writes.

    Args:
        base_name: the base model's hub id or local name, stored as `base_model_name_or_path`.
        revision: the hub commit the base was loaded from.
        chat_template: that of the prompts it was trained on, if they had one; written beside it, under the name by
            which Transformers keeps a tokenizer's.

    Raises:
        SettingError: no LoRA layers, or they are merged (the base cannot be told from the update then); base weights
            have changed since `apply_lora`; PEFT would lose the update of a module.
        SaveError: the folder cannot be written: no space, no permission. An adapter that was there is untouched.
    """
    files = adapter_files(model, base_name, revision, chat_template)
    if is_sharded(model) and torch.distributed.get_rank():
        return Path(folder)
    return files.write(folder)


def adapter_files(
    model: nn.Module, base_name: str | None = None, revision: str | None = None, chat_template: str | None = None
) -> "AdapterFiles":
    """What `save` writes, with its arguments; of a sharded model every process must call. Raises its SettingError."""
    layers = dict(lora_layers(model))
    if not layers:
        raise SettingError("This model has no LoRA layers to save.", "Call apply_lora and train first.")
    if any(layer.merged for layer in layers.values()):
        raise SettingError("The update is merged into the base.", "Call unmerge(model) before saving the adapter.")
    adapter = adapters_of(model).active
    assert adapter is not None
    _refuse_changed_base(model, adapter.base)
    check_savable(model)
    config = adapter.config
    layers = {name.replace(COMPILED, ""): layer for name, layer in layers.items()}
    tensors = {}
    for name, layer in layers.items():
        for suffix, (factor, embedding) in FACTORS.items():
            if embedding == isinstance(layer, LoRAEmbedding):
                tensors[f"{PREFIX}{name}.{suffix}"] = gathered(getattr(layer, factor).detach()).cpu().contiguous()
    stored = {
        "peft_type": "LORA",
        # by it PEFT chooses a class, and the one for causal models wants a model that generates
        "task_type": "CAUSAL_LM" if hasattr(model, "prepare_inputs_for_generation") else None,
        "base_model_name_or_path": base_name,
        "revision": revision,
        "r": config.r,
        "lora_alpha": _number(config.alpha),
        "rank_pattern": {whole(name): layer.r for name, layer in layers.items() if layer.r != config.r},
        "alpha_pattern": {
            whole(name): _number(layer.alpha) for name, layer in layers.items() if layer.alpha != config.alpha
        },
        "lora_dropout": config.dropout,
        "use_rslora": config.rslora,
        "target_modules": _target_modules(model, list(layers)),
        "fan_in_fan_out": any(getattr(layer, "transposed", False) for layer in layers.values()),
        "bias": "none",
        "init_lora_weights": True,
        "inference_mode": True,
        "modules_to_save": None,
    }
    fingerprint = Fingerprint.of(model)
    header = {"format": "pt", BASE: json.dumps(fingerprint.__dict__)}
    return AdapterFiles(stored, tensors, header, chat_template)


@dataclass(frozen=True)
class AdapterFiles:
    """An adapter as its files hold it: the config, the tensors by PEFT's names, their header, the chat template."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    header: dict[str, str]
    chat_template: str | None

    def write(self, folder: str | Path) -> Path:
        """Write the files, each replaced whole or not at all. Raises SaveError where they cannot be written."""
        folder = Path(folder)
        partial = folder / (WEIGHTS_NAME + ".partial")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_tensors(partial, self.tensors, self.header)
            sync(partial)
            os.replace(partial, folder / WEIGHTS_NAME)
            if self.chat_template:
                replace_text(folder / CHAT_TEMPLATE_NAME, self.chat_template)
            # last, since a folder without it is no adapter
            replace_text(folder / CONFIG_NAME, json.dumps(self.config, indent=2) + "\n")
        except (SafetensorError, OSError) as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise SaveError(
                f"The adapter could not be written to {folder} ({error}).", "Free some space, or give another folder."
            ) from error
        return folder


def _number(alpha: float) -> float:
    return int(alpha) if float(alpha).is_integer() else alpha


def _refuse_changed_base(model: nn.Module, before: dict[str, Tensor]) -> None:
    now = base_values(model)
    if changed := [name for name, old in before.items() if name in now and _differs(old, now[name])]:
        raise SettingError(
            f"{changed[0]} has changed since LoRA was applied (in all: {len(changed)} parameters of the base), and an "
            "adapter file holds only A and B.",
            "Keep the base frozen, or call merge(model) and remove(model), and save the whole model.",
        )


def _differs(old: Tensor, new: Tensor) -> bool:
    """Whether a parameter has other values now; of one cast to another dtype, others than the cast makes of it."""
    if new.is_floating_point() != old.is_floating_point():  # packed into 4 bits since, or unpacked
        return False
    return new.shape != old.shape or not torch.equal(old.to(new.dtype), new)


def check_savable(model: nn.Module) -> None:
    """Refuse LoRA layers whose update a file of PEFT's would lose: `save` does, and a run had better ask before it
    trains.

    Raises:
        SettingError: there are such layers, or layers of a variant with parameters of its own; the message says what to
            leave out.
    """
    names = [name for name, _ in lora_layers(model)]
    for name, layer in lora_layers(model):
        own = {n for n, _ in layer.named_parameters() if not n.startswith("base_layer.")}
        if own != {"A", "B"}:
            raise SettingError(
                f"{name} is a {type(layer).__name__} with {', '.join(sorted(own - {'A', 'B'}))}, and an adapter file "
                "holds A and B alone.",
                "Call merge(model) and remove(model), and save the whole model.",
            )
    if lost := lost_in_peft(model, names):
        first, why = next(iter(lost.items()))
        parts = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in lost}))
        raise SettingError(
            f"PEFT would lose the update of {first}: {why} (in all: {len(lost)} of {len(names)} modules).",
            f"Leave {parts} out of targets, or call merge(model) and remove(model), and save the whole model.",
        )


def _target_modules(model: nn.Module, names: list[str]) -> list[str] | str:
    """What selects the adapted modules and nothing else, modules without a weight included.

    The last parts of their names, or else their whole names, or else, where one ends another's, a pattern.
    """
    others, inside = [], set(names)
    for name, _ in model.named_modules():
        name = name.replace(COMPILED, "").removesuffix(COMPILED.rstrip("."))
        if name.rpartition(".")[0] in inside:
            inside.add(name)  # a part of a LoRA layer
        elif name not in inside:
            others.append(name)
    parts = sorted({name.rsplit(".", 1)[-1] for name in names})
    for targets in (parts, names):
        chosen = set(targets)
        if not any(end in chosen for name in others for end in ends(name)):
            return targets
    return "|".join(re.escape(name) for name in names)


def load(model: nn.Module, folder: str | Path, base_name: str | None = None) -> Report:
    """Apply the adapter in `folder` to `model`, strictly: nothing is changed unless all of it fits.

    Args:
        base_name: the name `model` was loaded by. Another name than the adapter's warns, if the weights are the same.
            So does a base in 4 bits where the adapter was trained on it in full, or the other way round.

    Raises:
        AdapterError: a file is missing or damaged; a key, shape, rank or vocabulary does not fit; a value is not
            finite; the adapter was trained on other base weights; PEFT leaves out an update that it holds.
        SettingError: the model already has LoRA layers.
    """
    model = getattr(model, COMPILED.rstrip("."), model)
    if next(lora_layers(model), None) is not None:
        raise SettingError("This model already has LoRA layers.", "Call remove(model) before loading an adapter.")
    stored = read_config(folder)
    tensors, header = read_tensors(Path(folder) / WEIGHTS_NAME)
    factors, bases = _sort(model, tensors)
    _refuse_gaps(targeted(model, stored), factors)
    config = lora_config(stored, tuple(factors))
    for name, pair in factors.items():
        _check_shapes(model.get_submodule(name), name, pair, config.for_module(name).r)
    for name, values in bases.items():
        _check_stored_base(model, name, values)
    for key, tensor in tensors.items():  # after the shapes: so far, no value has been read from the file
        if not bool(torch.isfinite(tensor.float()).all()):
            raise AdapterError(
                f"The tensor {shown(key)} holds NaN or infinity.", "The run that made it diverged: train again."
            )
    for name, why in ignored_by_peft(model, factors).items():
        if factors[name]["B"].any():
            raise AdapterError(
                f"In PEFT the update of {name} is left out: {why}.", "Train the adapter anew, without this module."
            )
    known = base_in(header)
    _check_base(model, known, stored, base_name)
    _warn_of_rounding(model, known)
    report = wrap(model, config, [name for name, _ in model.named_modules() if name in factors], known)
    with torch.no_grad():
        for name, layer in lora_layers(model):
            layer.A.copy_(factors[name]["A"])
            layer.B.copy_(factors[name]["B"])
    return report


def read_chat_template(folder: str | Path) -> str | None:
    """The chat template beside an adapter, where `save`, TRL or `tokenizer.save_pretrained` wrote one; otherwise None.

    Raises:
        AdapterError: it cannot be read.
    """
    path = Path(folder) / CHAT_TEMPLATE_NAME
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else None
    except (OSError, ValueError) as error:
        raise AdapterError(f"{path} cannot be read ({error}).", "Save or download the adapter again.") from None


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and header of an adapter's weights. Raises AdapterError where they are missing or damaged."""
    if not path.is_file():
        raise AdapterError(f"There is no {WEIGHTS_NAME} in {path.parent}.", "Only safetensors adapters are loaded.")
    try:
        with safe_open(path, "pt") as f:
            tensors, header = {key: f.get_tensor(key) for key in f.keys()}, f.metadata() or {}  # noqa: SIM118
        with open(path, "rb") as raw:
            json.loads(raw.read(int.from_bytes(raw.read(8), "little")), object_pairs_hook=once)
    except (SafetensorError, OSError, ValueError, RuntimeError) as e:
        raise AdapterError(
            f"{path} is damaged or no safetensors file ({shown(str(e))}).", "Save or download it again."
        ) from None
    for key, tensor in tensors.items():
        if tensor.dtype not in DTYPES:
            raise AdapterError(
                f"The tensor {shown(key)} is stored as {tensor.dtype}, which no factor is trained in.",
                "Save or download the adapter again.",
            )
    return tensors, header


def _sort(model: nn.Module, tensors: dict[str, Tensor]) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]:
    """Factor A and factor B by module name, and the parameters of the base that the file holds too, by their names."""
    modules = dict(model.named_modules())
    factors: dict[str, dict[str, Tensor]] = {}
    bases: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        rest = key.removeprefix(PREFIX)
        suffix = next((s for s in (*FACTORS, *BASES) if rest.endswith("." + s)), None)
        name = rest.removesuffix(f".{suffix}")
        if suffix is None or key == rest or name not in modules:
            problem, advice = f"The tensor {shown(key)} has no place in this model.", "Load the base it was trained on."
            if key == rest:
                problem += f" Names in PEFT's format begin with {PREFIX}"
                advice = "Save the adapter again, and leave the names in its file alone."
            raise AdapterError(problem, advice)
        factor, embedding = FACTORS.get(suffix, ("", isinstance(modules[name], nn.Embedding)))
        if embedding != isinstance(modules[name], nn.Embedding) or not adaptable(modules[name]):
            raise AdapterError(f"The tensor {key} does not fit the module {name}.", "Load the base it was trained on.")
        if factor:
            factors.setdefault(name, {})[factor] = tensor
        else:
            bases[f"{name}.{BASES[suffix]}"] = tensor
    missing = [name for name, pair in factors.items() if len(pair) < 2]
    if missing or not factors:
        what = f"one of the two factors of {missing[0]}" if missing else "every LoRA tensor"
        raise AdapterError(f"The file lacks {what}.", "Save or download the adapter again.")
    return factors, bases


def _refuse_gaps(wanted: set[str], factors: dict[str, dict[str, Tensor]]) -> None:
    """Every module that the config adapts must be in the file, and no other."""
    absent, extra = sorted(wanted - factors.keys()), sorted(factors.keys() - wanted)
    if absent:
        raise AdapterError(
            f"The file lacks {absent[0]}, which its config adapts (absent: {len(absent)} of the base's modules).",
            "Save or download the adapter again, or load the base it was trained on.",
        )
    if extra:
        raise AdapterError(
            f"The file holds {extra[0]}, which its config does not adapt (in all: {len(extra)} of its modules).",
            "Save or download the adapter again: config and weights are not of one run.",
        )


def _check_stored_base(model: nn.Module, name: str, stored: Tensor) -> None:
    """A weight or bias of the base in the file, which PEFT adds for an embedding or a head, must be the model's own."""
    own = dict(model.named_parameters(remove_duplicate=False)).get(name)
    if own is None or stored.shape != own.shape or not torch.equal(stored.to(own), own):
        layer, _, kind = name.rpartition(".")
        raise AdapterError(f"The file holds another base {kind} for {layer}.", "Load the base it was trained on.")


def _check_shapes(module: nn.Module, name: str, pair: dict[str, Tensor], r: int) -> None:
    d, k = layer_shape(module)
    for factor, shape in (("A", (r, k)), ("B", (d, r))):
        seen = tuple(pair[factor].shape)
        if seen != shape:
            what = "vocabulary" if isinstance(module, nn.Embedding) and factor == "A" and seen[0] == r else "shape"
            raise AdapterError(
                f"{name}: the adapter's {factor} is {seen}, this model and r = {shown(r)} need {shown(shape)}; "
                f"the {what} differs.",
                "Load the base and config it was trained with.",
            )


def base_in(header: dict[str, str]) -> Fingerprint | None:
    """The base that a file's header tells of; PEFT's files say nothing of the base's weights."""
    if BASE not in header:
        return None
    try:
        return Fingerprint.from_json(json.loads(header[BASE]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise AdapterError("The adapter's note on its base is damaged.", "Save or download it again.") from None


def _check_base(model: nn.Module, known: Fingerprint | None, stored: dict, base_name: str | None) -> None:
    """Refuse another base than the one known, and warn where only its name differs."""
    if known and not known.matches(Fingerprint.of(model)):
        name = stored.get("base_model_name_or_path") or "another model"
        raise AdapterError(
            f"This adapter was trained on other base weights ({name}).",
            f"Load {name} as the base, at its revision.",
        )
    trained_on = stored.get("base_model_name_or_path")
    if base_name and trained_on and base_name != trained_on:
        warnings.warn(
            f"The adapter names its base {trained_on!r}; this model was loaded as {base_name!r}.", stacklevel=3
        )


def _warn_of_rounding(model: nn.Module, known: Fingerprint | None) -> None:
    """Warn where the base is in 4 bits here and was not in training, or the other way round."""
    packed = next(packed_layers(model), None) is not None
    if known and known.packed != packed and known.exact != Fingerprint.of(model).exact:
        then, now = ("in full", "in 4 bits") if packed else ("in 4 bits", "in full")
        warnings.warn(
            f"The adapter was trained on this base {then}, and here it is {now}: the loss will be slightly another.",
            stacklevel=3,
        )
