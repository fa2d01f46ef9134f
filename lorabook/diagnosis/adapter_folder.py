"""An adapter as it lies in its folder, with the tokenizer beside it.

Its base is looked at too, where that is a folder on this machine. Adapters that lorabook's layers do not compute are
read like others. Nothing is unpickled: of `adapter_model.bin` it is noted that it is there.
"""

import json
from dataclasses import dataclass
from os.path import isdir
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from lorabook.errors import CheckpointError
from lorabook.lora_config import ALL_LINEAR, LoRAConfig
from lorabook.peft_format import adapter_file
from lorabook.peft_format.adapter_config import CONFIG_NAME, lora_config, read_any_config
from lorabook.peft_format.fingerprint import Fingerprint

PICKLED = "adapter_model.bin"


@dataclass(frozen=True)
class ModelFiles:
    """The JSON files of a model and its tokenizer: `config.json`, `tokenizer_config.json`, empty where there is none.

    `vocabulary` is one more than the highest id in `tokenizer.json` (0: there is none); `template` the chat template.
    """

    config: dict
    tokenizer: dict
    vocabulary: int
    template: str

    @classmethod
    def of(cls, folder: Path) -> "ModelFiles":
        tokenizer = read_json(folder / "tokenizer_config.json") or {}
        stored = read_json(folder / "tokenizer.json")
        ids = [len(stored["model"]["vocab"]), *(token["id"] + 1 for token in stored["added_tokens"])] if stored else []
        template = folder / "chat_template.jinja"  # beside the settings, and in older folders among them
        text = template.read_text(encoding="utf-8") if template.is_file() else tokenizer.get("chat_template") or ""
        return cls(read_json(folder / "config.json") or {}, tokenizer, max(ids, default=0), str(text))


class Factor(NamedTuple):
    """A factor of a LoRA layer: `which` is "A" or "B"."""

    module: str
    which: str
    embedding: bool
    values: Tensor


@dataclass(frozen=True)
class Adapter:
    """What an adapter's folder holds.

    `tensors` is None where it has no safetensors file; `pickled` tells of an `adapter_model.bin`. `saved_on` is the
    base by the note that lorabook leaves. `base` is None where the base is no folder on this machine.
    """

    config: dict
    tensors: dict[str, Tensor] | None
    pickled: bool
    saved_on: Fingerprint | None
    files: ModelFiles
    base: ModelFiles | None

    @classmethod
    def of(cls, folder: Path) -> "Adapter | None":
        """The adapter in `folder`, if there is one. Raises AdapterError where a file of it is missing or damaged."""
        weights, pickled = folder / adapter_file.WEIGHTS_NAME, (folder / PICKLED).exists()
        if not (pickled or weights.exists() or (folder / CONFIG_NAME).exists()):
            return None
        tensors, header = adapter_file.read_tensors(weights) if weights.exists() else (None, {})
        config = read_any_config(folder)
        base = config.get("base_model_name_or_path")
        known = ModelFiles.of(Path(base)) if base and isdir(base) else None
        return cls(config, tensors, pickled, adapter_file.base_in(header), ModelFiles.of(folder), known)

    @property
    def factors(self) -> list[Factor]:
        """The factors of the file, whatever their shapes."""
        return [
            Factor(key.removeprefix(adapter_file.PREFIX).removesuffix(f".{suffix}"), *kind, tensor)
            for key, tensor in (self.tensors or {}).items()
            for suffix, kind in adapter_file.FACTORS.items()
            if key.endswith(f".{suffix}")
        ]

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of those that have a factor in the file."""
        return tuple(sorted({factor.module for factor in self.factors}))

    @property
    def settings(self) -> LoRAConfig:
        """Rank, alpha and scaling by the config. Raises AdapterError where one is out of range."""
        return lora_config(self.config, self.modules or (ALL_LINEAR,))


def read_json(path: Path) -> Any:
    """What a JSON file holds, None where there is no such file. Raises CheckpointError where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}).", "Look at another run.") from None
