"""Adapters that look trained: one on a model, or two on one base that differ in rank, scaling and targets."""

import torch
from torch import nn
from transformers import PreTrainedModel

from lorabook.adapters import activate, add, deactivate
from lorabook.lora import LoRAConfig, apply_lora, lora_layers
from tests.kit.families import MODELS

GPT = {
    "titles": LoRAConfig(r=4, alpha=8, dropout=0.5, targets=("c_attn", "wte", "wpe")),
    "code": LoRAConfig(r=2, alpha=6, rslora=True, targets=("c_attn", "c_proj", "lm_head")),
}
LLAMA = {
    "titles": LoRAConfig(r=4, alpha=8, dropout=0.5, targets=("q_proj", "embed_tokens")),
    "code": LoRAConfig(r=2, alpha=6, rslora=True, targets=("q_proj", "down_proj", "lm_head")),
}
CONFIGS = {"GPTBigCode": GPT, "GPT-2": GPT, "Llama": LLAMA}
SEEDS = {"titles": 11, "code": 12}


@torch.no_grad()
def fill_adapter(model: nn.Module, seed: int = 2) -> None:
    """Put random values in both factors of every LoRA layer, as after training, so that the update is not zero."""
    generator = torch.Generator().manual_seed(seed)
    for _, layer in lora_layers(model):
        for factor in (layer.A, layer.B):
            factor.copy_(torch.randn(factor.shape, generator=generator) * 0.2)


def adapted(model: PreTrainedModel, config: LoRAConfig) -> PreTrainedModel:
    """`model` itself, with an adapter that looks trained."""
    apply_lora(model, config)
    fill_adapter(model)
    return model


def alone(kind: str, name: str) -> nn.Module:
    """A model that only ever had the adapter `name`."""
    model = MODELS[kind]()
    apply_lora(model, CONFIGS[kind][name])
    fill_adapter(model, SEEDS[name])
    return model


def both(kind: str = "GPTBigCode") -> nn.Module:
    """A model with both adapters, none of them active."""
    model = MODELS[kind]()
    for name, config in CONFIGS[kind].items():
        add(model, name, config)
        activate(model, name)
        fill_adapter(model, SEEDS[name])
    deactivate(model)
    return model
