"""The gradients of one micro-batch, which the training loop forms in the same way as the dry run of its memory."""

from collections.abc import Callable

import torch
from torch import nn

from lorabook.data.batches import Batch


def gradient_step(
    loss: nn.Module, batch: Batch, factor: float, backward: Callable[[torch.Tensor], object]
) -> torch.Tensor:
    """Forward and backward of one micro-batch: adds the gradient of factor * summed loss, returns the summed loss."""
    total = loss(batch.input_ids, batch.label_positions, batch.labels)
    backward(total * factor)
    return total.detach()


def set_activation_checkpointing(model: nn.Module, wanted: bool | None, device: torch.device) -> None:
    """Switch recomputation of activations on or off; `wanted` None means on for CUDA only."""
    on = device.type == "cuda" if wanted is None else wanted
    verb, arguments = ("enable", [{"use_reentrant": False}]) if on else ("disable", [])
    old, new = f"gradient_checkpointing_{verb}", f"activation_checkpointing_{verb}"  # renamed within transformers 5
    getattr(model, new if hasattr(model, new) else old)(*arguments)
    # transformers asks for the gradient of the embeddings' output too. Only reentrant checkpoints need that tensor.
    if getattr(model, "_require_grads_hook", None) is not None:
        model.disable_input_require_grads()  # pyright: ignore[reportCallIssue]
