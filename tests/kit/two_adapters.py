"""Two adapters on one base that differ in rank, scaling and targets, and models that only ever had one of them."""

from torch import nn

from lorabook.adapters import activate, add, deactivate
from lorabook.lora import LoRAConfig, apply_lora
from tests.kit.tiny import MODELS, fill_adapter

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
