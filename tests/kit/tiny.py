"""Tiny causal language models with the real architectures, and what tests of adapters do to them.

Every model has 64 tokens, 32 positions, width 32, 2 layers and 4 heads, no dropout, and is in eval mode. Its weights
come from `seed` alone: building one leaves the global random state as it was.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTBigCodeConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

from lorabook.lora import LoRAConfig, apply_lora, attached, lora_layers

VOCABULARY, WIDTH = 64, 32
IDS = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0}
GPT_SIZES = {"n_positions": 32, "n_embd": WIDTH, "n_layer": 2, "n_head": 4}
NO_DROPOUT = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
LLAMA_SIZES = {
    "max_position_embeddings": 32,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def gpt_bigcode(seed: int = 0, **changes: Any) -> PreTrainedModel:
    """StarCoder's architecture: multi-query attention, learned positions, the head tied to `wte`."""
    return _build(GPTBigCodeConfig(**(IDS | GPT_SIZES | NO_DROPOUT | changes)), seed)


def gpt2(seed: int = 0, **changes: Any) -> PreTrainedModel:
    """GPT-2: `Conv1D` in place of linear layers, the head tied to `wte`."""
    return _build(GPT2Config(**(IDS | GPT_SIZES | NO_DROPOUT | changes)), seed)


def llama(seed: int = 0, **changes: Any) -> PreTrainedModel:
    """Llama: grouped-query attention, no biases, and a head of its own."""
    return _build(LlamaConfig(**(IDS | LLAMA_SIZES | changes)), seed)


MODELS = {"GPTBigCode": gpt_bigcode, "GPT-2": gpt2, "Llama": llama}


def _build(config: PreTrainedConfig, seed: int) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config).eval()
        for parameter in model.parameters():  # as initialised, biases are zero and logits too small to tell apart
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def token_ids(rows: int = 2, length: int = 9, seed: int = 1, below: int = VOCABULARY) -> Tensor:
    """Token ids of shape (rows, length), each under `below`."""
    return torch.randint(below, (rows, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def logits(model: nn.Module, ids: Tensor | None = None) -> Tensor:
    """The model's logits for `ids` in fp32."""
    return model(token_ids() if ids is None else ids).logits.float()


def gradients(model: nn.Module, ids: Tensor) -> dict[str, Tensor]:
    """The gradient of the next-token loss on `ids`, for every trainable parameter."""
    model.zero_grad()
    model(ids, labels=ids).loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def fill_adapter(model: nn.Module, seed: int = 2) -> None:
    """Put random numbers in both factors of every LoRA layer, as after training, so that the update is not zero."""
    generator = torch.Generator().manual_seed(seed)
    for _, layer in lora_layers(model):
        for factor in (layer.A, layer.B):
            factor.copy_(torch.randn(factor.shape, generator=generator) * 0.2)


def adapted(model: PreTrainedModel, config: LoRAConfig) -> PreTrainedModel:
    """`model` itself, with an adapter that looks trained."""
    apply_lora(model, config)
    fill_adapter(model)
    return model


def snapshot(model: nn.Module) -> dict[str, Any]:
    """All that a refusal must leave alone: module classes, modes, values, trainability, ties, settings."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return {
        "modules": {name: (type(m), m.training) for name, m in model.named_modules()},
        "parameters": {name: (id(p), p.requires_grad) for name, p in parameters.items()},
        "values": {name: t.clone() for name, t in model.state_dict().items()},
        "config": model.config.to_dict() if hasattr(model, "config") else None,
        "settings": attached(model).active and attached(model).active.config,
    }


def assert_untouched(model: nn.Module, before: dict[str, Any]) -> None:
    """The model is as it was when `snapshot` gave `before`."""
    after = snapshot(model)
    values, expected = after.pop("values"), before["values"]
    assert after == {part: before[part] for part in after}
    assert values.keys() == expected.keys()
    assert [name for name in values if not torch.equal(values[name], expected[name])] == []
