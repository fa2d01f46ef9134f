"""PEFT as the outside oracle: the same adapter built with it, and factors copied from ours to theirs."""

from copy import deepcopy

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from lorabook.lora import LoRAConfig, lora_layers
from lorabook.lora_config import ALL_LINEAR


def peft_config(model: nn.Module, config: LoRAConfig) -> LoraConfig:
    """`config` in PEFT's words, for the plain `model`."""
    return LoraConfig(
        r=config.r,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        use_rslora=config.rslora,
        target_modules=ALL_LINEAR if config.targets == (ALL_LINEAR,) else list(config.targets),
        fan_in_fan_out=any(isinstance(m, Conv1D) for m in model.modules()),
    )


def with_peft(model: nn.Module, config: LoRAConfig) -> PeftModel:
    """A copy of the plain `model`, adapted by PEFT as `config` says."""
    return get_peft_model(deepcopy(model), peft_config(model, config))


def peft_factors(peft_model: nn.Module, name: str, adapter: str = "default") -> tuple[nn.Parameter, nn.Parameter]:
    """PEFT's A and B of the module that the plain model calls `name`."""
    layer = peft_model.get_submodule(f"base_model.model.{name}")
    if adapter in layer.lora_embedding_A:
        return layer.lora_embedding_A[adapter], layer.lora_embedding_B[adapter]
    return layer.lora_A[adapter].weight, layer.lora_B[adapter].weight


@torch.no_grad()
def copy_factors(model: nn.Module, peft_model: nn.Module, adapter: str = "default") -> None:
    """Give PEFT's layers the numbers that ours hold."""
    for name, layer in lora_layers(model):
        for mine, other in zip((layer.A, layer.B), peft_factors(peft_model, name, adapter), strict=True):
            other.copy_(mine)
