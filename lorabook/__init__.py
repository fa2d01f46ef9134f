"""Low-Rank Adaptation that can be read, trusted and measured: the library behind the lorabook workbook."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lorabook.errors import LorabookError
from lorabook.lora_config import LoRAConfig

if TYPE_CHECKING:
    from lorabook.lora import LoRAEmbedding, LoRALinear, apply_lora, count_parameters, lora_layers
    from lorabook.merging import merge, remove, unmerge

__version__ = "0.2.0"
__all__ = [
    "LoRAConfig",
    "LoRAEmbedding",
    "LoRALinear",
    "LorabookError",
    "apply_lora",
    "count_parameters",
    "lora_layers",
    "merge",
    "remove",
    "unmerge",
]


def __getattr__(name: str) -> Any:
    """What needs PyTorch, imported once it is asked for: `lorabook --help` answers at once."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "merging" if name in ("merge", "remove", "unmerge") else "lora"
    return getattr(import_module(f"lorabook.{home}"), name)
