"""Tiny models packed into 4 bits by bitsandbytes, beside the dense models that they must compute like."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from lorabook.models import load_model
from lorabook.models.quantized import packed_layers, quantize
from tests.kit.families import gpt2, gpt_bigcode, llama

BASES: dict[str, Callable[..., Any]] = {
    "GPTBigCode": lambda seed=0, **changes: gpt_bigcode(seed, **({"n_embd": 64} | changes)),
    "GPT-2": lambda seed=0, **changes: gpt2(seed, **({"n_embd": 64} | changes)),
    "Llama": lambda seed=0, **changes: llama(seed, **({"hidden_size": 64, "intermediate_size": 128} | changes)),
}


def packed(kind: str, seed: int = 0, double: bool = True, dtype: torch.dtype = torch.float32) -> Any:
    """A model of BASES, or pocket, with its linear layers packed; `double` quantizes the scales as well."""
    model = load_model("pocket", device="cpu").model if kind == "pocket" else BASES[kind](seed)
    quantize(model.to(dtype), double)
    return model


def dense_copy(model: Any) -> Any:
    """A copy of the packed `model` with ordinary layers, whose weights bitsandbytes has unpacked."""
    from bitsandbytes.functional import dequantize_4bit

    copy = deepcopy(model)
    for name, layer in list(packed_layers(copy)):
        weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        plain = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
        plain.weight = nn.Parameter(weight, requires_grad=False)
        if layer.bias is not None:
            plain.bias = nn.Parameter(layer.bias.detach().clone(), requires_grad=False)
        copy.set_submodule(name, plain.train(layer.training))
    return copy


def storage_bytes(model: nn.Module) -> int:
    """Bytes of all storages that parameters and packed weights hold, each once."""
    tensors: list[Tensor] = list(model.parameters())
    for _, layer in packed_layers(model):
        state = layer.weight.quant_state
        tensors += [t for s in (state, state.state2) if s for t in vars(s).values() if isinstance(t, Tensor)]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())
