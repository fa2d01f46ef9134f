"""A model whose weights stay in their files, mapped into memory, until a sharded run reads its part of each.

Mapped pages belong to the files: the system reads one when a value in it is looked at, shares it among the processes
of a machine, and drops it when memory is short.
"""

import torch
from torch import nn


def mark_in_files(model: nn.Module, dtype: torch.dtype) -> None:
    """Remember that the weights of `model` are in their files, and in which dtype a run is to hold them."""
    vars(model)["lorabook_in_files"] = dtype


def dtype_to_read(model: nn.Module) -> torch.dtype | None:
    """The dtype in which a run is to hold weights that are in their files; None for a model that is in memory."""
    return vars(model).get("lorabook_in_files")


def mark_read(model: nn.Module) -> None:
    """Forget it: the weights are in memory now."""
    vars(model).pop("lorabook_in_files", None)
