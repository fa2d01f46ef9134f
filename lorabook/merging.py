"""Putting a LoRA update into the weights it belongs to (Hu et al. 2021, section 4.1).

merge(model)      # W0 + scaling * B A in place of W0: no extra cost at inference
unmerge(model)    # the very W0 back
remove(model)     # LoRA layers out; a merged model stays merged and is then an ordinary one
"""

import torch
from torch import Tensor, nn

from lorabook.errors import SettingError
from lorabook.lora import adapters_of, in_4_bits, lora_layers, replace_modules


@torch.no_grad()
def merge(model: nn.Module, keep_copy: bool = True) -> None:
    """Put W0 + scaling * B A in place of every base weight. The sum is formed in fp32 and rounded once.

    A base weight that another module shares (a tied output head) is untied: the adapted module gets its own merged
    weight, the other keeps the original, and `config.tie_word_embeddings` becomes False, so that the merged model
    computes what the unmerged one did.

    Args:
        keep_copy: keep the original weights for `unmerge`. False saves their memory and makes merging final.

    Raises:
        SettingError: there is nothing to merge, it is merged already, or a base weight is in 4 bits.
    """
    layers = [layer for _, layer in lora_layers(model)]
    if not layers:
        raise SettingError("This model has no LoRA layers.", "Call apply_lora or load an adapter first.")
    if any(layer.merged for layer in layers):
        raise SettingError("The update is merged already.", "Call unmerge(model) before merging again.")
    if any(in_4_bits(layer.base_layer) for layer in layers):
        raise SettingError(
            "The base is in 4 bits: rounded to 4 bits anew, W0 + scaling * B A would lose part of the update.",
            "Call lorabook.models.quantized.dequantize(model) first, or load the adapter onto an unquantised base.",
        )
    if any(_shared(model, layer.base_layer.weight) for layer in layers):
        _set_tied(model, False)
    for layer in layers:
        original = layer.base_layer.weight
        merged = (original + layer.delta()).to(original.dtype)  # half + fp32 is formed in fp32
        layer.base_layer.weight = nn.Parameter(merged, requires_grad=False)
        layer.kept = (original,) if keep_copy else ()
        layer.merged = True


def unmerge(model: nn.Module) -> None:
    """Put the original base weights back: the same tensors, so nothing drifts, and tied modules are tied again.

    Raises:
        SettingError: nothing is merged, or it was merged with `keep_copy=False`.
    """
    layers = [layer for _, layer in lora_layers(model) if layer.merged]
    if not layers:
        raise SettingError("Nothing is merged in this model.", "Call merge(model) first.")
    if not all(layer.kept for layer in layers):
        raise SettingError(
            "This model was merged with keep_copy=False, so its original weights are gone.", "Load the model anew."
        )
    for layer in layers:
        (original,) = layer.kept
        original.data = original.data.to(layer.A.device)  # the model may have moved since
        layer.base_layer.weight = original
        layer.kept, layer.merged = (), False
    if any(_shared(model, layer.base_layer.weight) for layer in layers):
        _set_tied(model, True)


def remove(model: nn.Module) -> None:
    """Take the LoRA layers out and put their base layers back, with the weights they have now.

    An unmerged model is then its base again, bit for bit; a merged one is an ordinary model with the merged weights,
    which no other adapter kept beside it (`adapters.add`) was made for: they are forgotten. The base stays frozen.

    Raises:
        SettingError: the model has no LoRA layers.
    """
    layers = list(lora_layers(model))
    if not layers:
        raise SettingError("This model has no LoRA layers.", "There is nothing to remove.")
    replace_modules(model, {layer: layer.base_layer.train(layer.training) for _, layer in layers})
    adapters_of(model).active = None
    if any(layer.merged for _, layer in layers):
        adapters_of(model).named.clear()


def _shared(model: nn.Module, weight: Tensor) -> bool:
    """Whether more than one module of `model` holds this very parameter."""
    return sum(any(p is weight for p in module._parameters.values()) for module in model.modules()) > 1


def _set_tied(model: nn.Module, tied: bool) -> None:
    config = getattr(model, "config", None)
    if config is not None:
        config.tie_word_embeddings = tied
