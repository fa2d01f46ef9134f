"""Adapter files in PEFT's format: `adapter_config.json` beside `adapter_model.safetensors`, written without PEFT.

Key layout (peft `save_pretrained`, read in 0.21): `base_model.model.<module>.lora_A.weight` (r, k) and
`.lora_B.weight` (d, r) for linear layers, `.lora_embedding_A` (r, vocabulary) and `.lora_embedding_B` (width, r) for
embeddings. A fingerprint of the base weights travels in the safetensors header, where PEFT does not look.
"""

import json
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lorabook.adapter_config import CONFIG_NAME, lora_config, once, read_config, targeted
from lorabook.errors import AdapterError, SettingError, shown
from lorabook.fingerprint import Fingerprint
from lorabook.lora import LoRAEmbedding, Report, adaptable, apply_lora, layer_shape, lora_layers
from lorabook.quantized import packed_layers

WEIGHTS_NAME = "adapter_model.safetensors"
PREFIX, BASE = "base_model.model.", "lorabook_base"  # of a tensor's name; the header's entry on the base
FACTORS = {
    "lora_A.weight": ("A", False),
    "lora_B.weight": ("B", False),
    "lora_embedding_A": ("A", True),
    "lora_embedding_B": ("B", True),
}
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)  # in which factors are stored


def save(model: nn.Module, folder: str | Path, base_name: str | None = None, revision: str | None = None) -> Path:
    """Write the LoRA layers of `model` to `folder`, each file replaced whole or not at all.

    Args:
        base_name: the base model's hub id or local name, stored as `base_model_name_or_path`.
        revision: the hub commit the base was loaded from.

    Raises:
        SettingError: no LoRA layers, or they are merged (the base cannot be told from the update then).
    """
    layers = dict(lora_layers(model))
    if not layers:
        raise SettingError("This model has no LoRA layers to save.", "Call apply_lora and train first.")
    if any(layer.merged for layer in layers.values()):
        raise SettingError("The update is merged into the base.", "Call unmerge(model) before saving the adapter.")
    config: Any = model.lora_config
    tensors = {}
    for name, layer in layers.items():
        for suffix, (factor, embedding) in FACTORS.items():
            if embedding == isinstance(layer, LoRAEmbedding):
                tensors[f"{PREFIX}{name}.{suffix}"] = getattr(layer, factor).detach().cpu().contiguous()
    stored = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "revision": revision,
        "r": config.r,
        "lora_alpha": int(config.alpha) if float(config.alpha).is_integer() else config.alpha,
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
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / (WEIGHTS_NAME + ".partial")
    save_file(tensors, partial, metadata=header)
    _replace(partial, folder / WEIGHTS_NAME)
    partial = folder / (CONFIG_NAME + ".partial")
    partial.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
    _replace(partial, folder / CONFIG_NAME)
    return folder


def _replace(partial: Path, final: Path) -> None:
    with open(partial, "r+b") as f:  # Windows syncs only what is open for writing
        os.fsync(f.fileno())
    os.replace(partial, final)


def _target_modules(model: nn.Module, names: list[str]) -> list[str]:
    """The shortest names that select exactly the adapted modules: their last parts where those suffice."""
    parts = tuple(sorted({name.rsplit(".", 1)[-1] for name in names}))
    suffixed = [n for n, m in model.named_modules() if n.rsplit(".", 1)[-1] in parts and hasattr(m, "weight")]
    return list(parts) if set(suffixed) <= set(names) else names


def load(model: nn.Module, folder: str | Path, base_name: str | None = None) -> Report:
    """Apply the adapter in `folder` to `model`, strictly: nothing is changed unless all of it fits.

    Args:
        base_name: the name `model` was loaded by. Another name than the adapter's warns, if the weights are the same.
            So does a base in 4 bits where the adapter was trained on it in full, or the other way round.

    Raises:
        AdapterError: a file is missing or damaged; a key, shape, rank or vocabulary does not fit; a value is not
            finite; the adapter was trained on other base weights.
        SettingError: the model already has LoRA layers.
    """
    if next(lora_layers(model), None) is not None:
        raise SettingError("This model already has LoRA layers.", "Call remove(model) before loading an adapter.")
    stored = read_config(folder)
    tensors, header = read_tensors(Path(folder) / WEIGHTS_NAME)
    factors, bases = _sort(model, tensors)
    _refuse_gaps(targeted(model, stored), factors)
    config = lora_config(stored, tuple(factors))
    for name, pair in factors.items():
        _check_shapes(model.get_submodule(name), name, pair, config.r)
    for name, weight in bases.items():
        _check_stored_base(model.get_submodule(name), name, weight)
    for key, tensor in tensors.items():  # after the shapes: so far, no value has been read from the file
        if not bool(torch.isfinite(tensor.float()).all()):
            raise AdapterError(
                f"The tensor {shown(key)} holds NaN or infinity.", "The run that made it diverged: train again."
            )
    known = base_in(header)
    _check_base(model, known, stored, base_name)
    _warn_of_rounding(model, known)
    report = apply_lora(model, config)
    model.lora_trained_on = (config, known)  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        for name, layer in lora_layers(model):
            layer.A.copy_(factors[name]["A"])
            layer.B.copy_(factors[name]["B"])
    return report


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
    """Factor A and factor B by module name, and the base weights that the file holds too, by module name."""
    modules = dict(model.named_modules())
    factors: dict[str, dict[str, Tensor]] = {}
    bases: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        rest = key.removeprefix(PREFIX)
        suffix = next((s for s in (*FACTORS, "base_layer.weight") if rest.endswith("." + s)), None)
        name = rest.removesuffix(f".{suffix}")
        if suffix is None or key == rest or name not in modules:
            raise AdapterError(
                f"The tensor {shown(key)} has no place in this model.", "Load the base it was trained on."
            )
        factor, embedding = FACTORS.get(suffix, ("", isinstance(modules[name], nn.Embedding)))
        if embedding != isinstance(modules[name], nn.Embedding) or not adaptable(modules[name]):
            raise AdapterError(f"The tensor {key} does not fit the module {name}.", "Load the base it was trained on.")
        if factor:
            factors.setdefault(name, {})[factor] = tensor
        else:
            bases[name] = tensor
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


def _check_stored_base(module: nn.Module, name: str, stored: Tensor) -> None:
    """A base weight in the file, which PEFT may add, must be the model's own."""
    weight = module.get_parameter("weight")
    if stored.shape != weight.shape or not torch.equal(stored.to(weight), weight):
        raise AdapterError(f"The file holds another base weight for {name}.", "Load the base it was trained on.")


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
    if known and bool(known.rounding) != packed and known.exact != Fingerprint.of(model).exact:
        then, now = ("in full", "in 4 bits") if packed else ("in 4 bits", "in full")
        warnings.warn(
            f"The adapter was trained on this base {then}, and here it is {now}: the loss will be slightly another.",
            stacklevel=3,
        )
