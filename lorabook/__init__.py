"""Low-Rank Adaptation that can be read, trusted and measured: the library behind the lorabook workbook."""

from lorabook.errors import LorabookError
from lorabook.lora import LoRAConfig, LoRAEmbedding, LoRALinear, apply_lora, count_parameters, lora_layers
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
