"""A folder with a model, as `save_pretrained` writes it: whether it may be loaded, and how much is in it.

Only safetensors are read. An index of numbered parts is a stranger's file too: it could name pickled weights, or files
outside the folder, and Transformers would open them.
"""

import json
import math
import re
from pathlib import Path

from lorabook.errors import ModelError, shown
from lorabook.models.hub import UNGATED

MOST_LAYERS = 1000  # Transformers builds whatever number a config names, a module each, for hours if need be
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def weight_files(names: list[str]) -> list[str]:
    """The safetensors files that Transformers loads: `model.safetensors`, else its numbered parts, else none."""
    return [WHOLE] if WHOLE in names else sorted(n for n in names if _is_part(n))


def _is_part(name: object) -> bool:
    if not isinstance(name, str) or set(name) & {"/", "\\", "\0"}:
        return False
    return name.startswith("model-") and name.endswith(".safetensors")


def check_folder(folder: Path, name: str) -> Path:
    """`folder`, if it holds a config and safetensors weights. Raises ModelError that says what is missing."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if "config.json" not in names:
        raise ModelError(f"{name} holds no config.json.", "Give a folder that save_pretrained wrote, or a hub id.")
    if not weight_files(names):
        raise no_safetensors(name, names)
    return folder


def _check_depth(config: Path, name: str) -> None:
    try:
        stored = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return  # Transformers says what is wrong with it
    stored = stored if isinstance(stored, dict) else {}
    layers = [v for k in ("num_hidden_layers", "n_layer", "num_layers") if isinstance(v := stored.get(k), int)]
    if layers and max(layers) > MOST_LAYERS:
        raise ModelError(
            f"The config.json of {name} names {max(layers):,} layers; lorabook takes {MOST_LAYERS:,} at most.",
            "Get the model again, or use another causal language model.",
        )


def no_safetensors(name: str, names: list[str]) -> ModelError:
    """What to say of a model whose files are `names`, none of them safetensors."""
    advice = f"Use a model with safetensors weights, such as {UNGATED}, or ask its authors to add them."
    if any(n.endswith((".bin", ".pt", ".pth", ".ckpt")) for n in names):
        return ModelError(f"{name} has its weights only as pickled .bin files, which can run code when loaded.", advice)
    return ModelError(f"{name} holds no model.safetensors.", advice)


def indexed_files(folder: Path) -> list[str]:
    """The weight files of `folder`: the one, or the numbered parts that its index names.

    Raises:
        ValueError: there is no index, or it is damaged, or names anything but numbered parts in this folder.
    """
    if (folder / WHOLE).is_file():
        return [WHOLE]
    try:
        parts = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it cannot be read: {type(error).__name__}") from None
    for part in parts:
        if not _is_part(part):
            raise ValueError(f"it names {shown(part)}, which is no part of the model")
        if not (folder / part).is_file():
            raise ValueError(f"it names {shown(part)}, which is not there")
    return sorted(parts)


def count_weights(folder: Path, name: str) -> tuple[int, int]:
    """Elements in the safetensors files of `folder`, and how many of them are in the matrices of numbered blocks.

    Read from the headers of the files. What is in the blocks is what 4 bits hold of a model.

    Raises:
        ModelError: one is damaged, the index of the parts is, an adapter lies beside them, or the config has no end.
    """
    from safetensors import SafetensorError, safe_open

    _check_depth(folder / "config.json", name)
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"{name} holds an adapter_config.json beside the model, which Transformers would load another base for.",
            "Move the adapter's files into a folder of their own.",
        )
    try:
        files = indexed_files(folder)
    except ValueError as error:
        raise ModelError(
            f"{folder / INDEX}, the list of the weight files of {name}, is damaged, or a part is missing ({error}).",
            "Get the model again.",
        ) from None
    count = in_blocks = 0
    for file in files:
        try:
            with safe_open(folder / file, framework="pt") as weights:
                shapes = {tensor: weights.get_slice(tensor).get_shape() for tensor in weights.keys()}  # noqa: SIM118
            count += sum(map(math.prod, shapes.values()))
            in_blocks += sum(math.prod(s) for n, s in shapes.items() if len(s) == 2 and re.search(r"\.\d+\.", n))
        except (SafetensorError, OSError, RuntimeError) as error:
            raise ModelError(
                f"{folder / file}, a weight file of {name}, is damaged ({error}).", "Delete it and run this again."
            ) from None
    return count, in_blocks
