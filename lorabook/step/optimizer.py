"""What the optimizer moves: the trainable parameters, in AdamW's groups."""

import torch
from torch import nn

from lorabook.errors import SettingError
from lorabook.lora import LoRALinear, lora_layers
from lorabook.models.quantized import guard_cpu
from lorabook.step.config import TrainConfig
from lorabook.subspace.training import subspace_of


def trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Name and tensor of every trainable parameter: what requires a gradient, or what a subspace trains instead.

    Raises:
        SettingError: there is none, one is not float32, or the LoRA update is merged into the base.
    """
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
    """AdamW over the parameters in `named`, as `trained` gives them.

    With LoRA+ (Hayou et al. 2024, arXiv 2402.12354) the factors B of linear layers form a second group, whose learning
    rate is `config.lora_plus` times that of the first.
    """
    factors_b: set[int] = set()
    if config.lora_plus:
        factors_b = {id(layer.B) for _, layer in lora_layers(model) if isinstance(layer, LoRALinear)}
    groups = [
        {"params": [p for _, p in named if id(p) not in factors_b], "lr": config.lr},
        {"params": [p for _, p in named if id(p) in factors_b], "lr": config.lr * (config.lora_plus or 1)},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], weight_decay=config.weight_decay)
