"""A base in 4 bits, as QLoRA trains on it (Dettmers et al. 2023, arXiv 2305.14314): optional, with bitsandbytes.

Every linear layer but the output head holds, for 64 numbers at a time, the largest magnitude as their scale, and for
each number the nearest of 16 levels, which lie at quantiles of a normal distribution (NormalFloat, "nf4", section 3).
Double quantisation stores the scales in 8 bits too. Embeddings, norms, biases and the head stay as they were loaded. A
layer unpacks its weight whenever it is used; LoRA's factors beside it are fp32 as ever.

    loaded = load_model("bigcode/starcoderbase-1b", quantize="nf4")   # or quantize(model), for a model at hand
    apply_lora(loaded.model, LoRAConfig(r=16, alpha=32))
    finetune(loaded.model, ...)
    dequantize(loaded.model)                                          # to merge: the rounded weights, unpacked
    merge(loaded.model)
"""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lorabook.errors import SettingError
from lorabook.lora import (
    adapters_of,
    in_4_bits,
    is_conv1d,
    layer_shape,
    lora_layers,
    matched,
    replace_base_layers,
    replace_modules,
)
from lorabook.lora_config import ALL_LINEAR
from lorabook.models.nf4 import BLOCK
from lorabook.models.precision import precision_for

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig

LEAST = (0, 46)  # the first bitsandbytes that computes on a CPU


def quantize(model: nn.Module, double: bool = True) -> None:
    """Put the weights of every linear layer but the output head into 4 bits (NF4), in place, on the device they are on.

    The layers become bitsandbytes' `Linear4bit`. They compute in the autocast format of the device (`precision_for`),
    on a CPU in fp32. GPT-2's `Conv1D` becomes one with the weight transposed. The random state is left alone.

    Args:
        double: store the scales in 8 bits, with an fp32 number for 256 of them (section 3, "Double Quantization"):
            4.127 bits a weight in place of 4.5.

    Raises:
        SettingError: bitsandbytes is missing; the model has LoRA layers, or linear layers in 4 bits already; on a CPU,
            a layer whose inputs are no multiple of 64. The model is then as it was.
    """
    bitsandbytes()
    if next(lora_layers(model), None) is not None or adapters_of(model).named:
        raise SettingError("This model has LoRA layers.", "Quantise the base first, and then apply or load adapters.")
    if next(packed_layers(model), None) is not None:
        raise SettingError("This model is in 4 bits already.", "Nothing is left to do.")
    layers = {name: model.get_submodule(name) for name in matched(model, (ALL_LINEAR,))}
    # what is derived from nn.Linear computes something of its own
    layers = {name: layer for name, layer in layers.items() if type(layer) is nn.Linear or is_conv1d(layer)}
    for name, layer in layers.items():
        if layer.weight.device.type == "cpu":
            _refuse_ragged(name, layer_shape(layer)[1])
    replace_modules(model, {layer: _packed(layer, double) for layer in layers.values()})
    guard_cpu(model)
    _mark(model, True)


@torch.no_grad()
def dequantize(model: nn.Module) -> None:
    """Unpack every weight in 4 bits, in place: ordinary layers with the rounded weights, in the dtype they came from.

    The model computes what it computed before, LoRA layers included, and can then be merged. What rounding to 4 bits
    took from the weights does not come back: for that, load the model anew.

    Raises:
        SettingError: the model has no layer in 4 bits.
    """
    layers = list(packed_layers(model))
    if not layers:
        raise SettingError("No layer of this model is in 4 bits.", "There is nothing to unpack.")
    plain = {layer: _unpacked(layer) for _, layer in layers}
    replace_base_layers(model, plain)
    _mark(model, False)


def packed_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Name and layer of every `Linear4bit` in `model` whose weight is packed."""
    for name, module in model.named_modules():
        if in_4_bits(module):
            yield name, module


def dense_weight(layer: Any) -> Tensor:
    """The weight of a layer in 4 bits, unpacked, laid out as the layer that it was made from had it."""
    weight = bitsandbytes().functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    return weight.T if _was_conv1d(layer) else weight


def loading_config(device: torch.device) -> "BitsAndBytesConfig":
    """For transformers' `from_pretrained`, which then packs each weight as it is read: the format of `quantize`.

    Raises:
        SettingError: bitsandbytes is missing.
    """
    bitsandbytes()
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=_arithmetic(device),
    )


def guard_cpu(model: nn.Module) -> None:
    """Hold bitsandbytes to its own format on CPUs with AVX-512, where two things go wrong in 0.49 and 0.50.

    In eval mode a weight is repacked: from then on every product is rounded to bfloat16 and no gradient passes the
    layer. That is switched off. And rows whose length is no multiple of 64 are unpacked with scales of other blocks.

    Raises:
        SettingError: on a CPU, a layer with such rows, or one that was repacked before it got here.
    """
    for name, layer in packed_layers(model):
        if layer.weight.device.type == "cpu":
            _refuse_ragged(name, layer.in_features)
            if getattr(layer.weight.quant_state, "packing_format_for_cpu", False):
                raise SettingError(
                    f"bitsandbytes has repacked {name} for inference on this CPU: no gradient would pass it.",
                    "Load the model anew, with load_model(..., quantize='nf4').",
                )
            layer.support_avx512bf16_for_cpu = False


def quiet_bitsandbytes() -> None:
    """Keep bitsandbytes from logging its advice, on some CPUs as soon as anything imports it, PEFT included."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def bitsandbytes() -> Any:
    """The package bitsandbytes, imported quietly. Raises SettingError where it is missing or too old."""
    advice = "Install it: pip install 'lorabook[quantized]'"
    quiet_bitsandbytes()
    try:
        import bitsandbytes as package  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise SettingError("A base in 4 bits needs the package bitsandbytes, which is not here.", advice) from None
    version = package.__version__
    if tuple(int(part) for part in version.split(".")[:2]) < LEAST:
        raise SettingError(f"bitsandbytes {version} is too old: it has no 4-bit arithmetic for CPUs.", advice)
    return package


def _refuse_ragged(name: str, inputs: int) -> None:
    if inputs % BLOCK:
        raise SettingError(
            f"{name} has {inputs} inputs, no multiple of {BLOCK}: bitsandbytes gets its 4-bit weight wrong on a CPU.",
            "Keep this model in 16 or 32 bits, or use a GPU.",
        )


def _packed(layer: Any, double: bool) -> nn.Module:
    layers = bitsandbytes().nn
    weight = layer.weight.data.T if is_conv1d(layer) else layer.weight.data
    (d, k), arithmetic = weight.shape, _arithmetic(weight.device)
    with torch.device("meta"):  # the weight that it starts with takes no memory there, and draws no random number
        packed = layers.Linear4bit(k, d, layer.bias is not None, arithmetic, double, "nf4")
    stored = layers.Params4bit(weight, requires_grad=False, compress_statistics=double, quant_type="nf4", module=packed)
    packed.weight = stored.to(weight.device)  # which packs it
    if layer.bias is not None:  # its dtype is the one that the first forward pass would give it
        packed.bias = nn.Parameter(layer.bias.detach().to(arithmetic), requires_grad=False)
    packed.source_cls = type(layer)  # as transformers calls it
    return packed.train(layer.training)


def _unpacked(layer: Any) -> nn.Module:
    weight = dense_weight(layer).contiguous()
    with torch.device("meta"):
        if _was_conv1d(layer):
            plain = layer.source_cls(layer.out_features, layer.in_features)
        else:
            plain = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
    plain.weight = nn.Parameter(weight, requires_grad=False)
    if layer.bias is not None:
        plain.bias = nn.Parameter(layer.bias.detach().to(weight.dtype), requires_grad=False)
    return plain.train(layer.training)


def _was_conv1d(layer: Any) -> bool:
    return getattr(layer, "source_cls", nn.Linear).__name__ == "Conv1D"


def _arithmetic(device: torch.device) -> torch.dtype:
    return precision_for(device).autocast or torch.float32


def _mark(model: Any, packed: bool) -> None:
    """What transformers and PEFT look at to know a model in 4 bits."""
    model.is_loaded_in_4bit = packed
    if packed or not getattr(model, "is_quantized", False):
        return
    model.is_quantized = False
    for name in ("hf_quantizer", "quantization_method", "_weight_conversions"):
        vars(model).pop(name, None)
    vars(model.config).pop("quantization_config", None)
