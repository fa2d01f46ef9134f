"""The pieces of one optimizer step, which the training loop shares with the dry run of its memory."""

from collections.abc import Callable

import torch
from torch import nn

from lorabook.data.batches import Batch
from lorabook.errors import SettingError
from lorabook.lora import LoRALinear, lora_layers
from lorabook.models.quantized import guard_cpu
from lorabook.step.config import TrainConfig
from lorabook.subspace.training import subspace_of


def trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Name and tensor of everything that will be trained: what requires a gradient, or what a subspace trains."""
    guard_cpu(model)
    if any(layer.merged for _, layer in lora_layers(model)):
        raise SettingError("The LoRA update is merged into the base.", "Call unmerge(model) before training.")
    subspace = subspace_of(model)
    named = subspace.trained() if subspace else [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    if not named:
        raise SettingError("No parameter of this model requires a gradient.", "Call apply_lora(model, config) first.")
    if wrong := next((n for n, p in named if p.dtype != torch.float32), None):
        raise SettingError(
            f"The trained parameter {wrong} is {dict(named)[wrong].dtype}, not float32.",
            "Keep trained weights in float32: apply LoRA after casting the base, or load the model in float32.",
        )
    return named


def make_optimizer(model: nn.Module, named: list[tuple[str, nn.Parameter]], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW, in the order of `named`; with LoRA+ the factors B of linear layers form a second, faster group."""
    fast = set()
    if config.lora_plus:
        fast = {id(layer.B) for _, layer in lora_layers(model) if isinstance(layer, LoRALinear)}
        named.sort(key=lambda item: id(item[1]) in fast)
    groups = [{"params": [p for _, p in named if id(p) not in fast], "lr": config.lr}]
    if fast:
        groups.append({"params": [p for _, p in named if id(p) in fast], "lr": config.lr * (config.lora_plus or 1)})
    return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)


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
