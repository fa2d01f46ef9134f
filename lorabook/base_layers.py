"""Which layers LoRA can wrap: linear layers, GPT-2's `Conv1D` and embeddings that compute what their kind computes."""

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorabook.errors import SettingError


def is_conv1d(module: nn.Module) -> bool:
    """GPT-2's linear layer, known by name so that transformers need not be imported."""
    return type(module).__name__ == "Conv1D" and getattr(module, "weight", torch.empty(0)).ndim == 2


def in_4_bits(module: nn.Module) -> bool:
    """Whether the weight of `module` is packed by bitsandbytes (`quantized.py`), which need not be imported here."""
    return getattr(module._parameters.get("weight"), "quant_state", None) is not None


def layer_shape(module: Any) -> tuple[int, int]:
    """(d, k) of a linear layer, outputs and inputs, or of an embedding, width and vocabulary; not how it is stored."""
    if in_4_bits(module):
        return module.out_features, module.in_features
    rows, columns = module.weight.shape
    return (columns, rows) if isinstance(module, nn.Embedding) or is_conv1d(module) else (rows, columns)


def adaptable(module: nn.Module) -> bool:
    """Whether `apply_lora` knows this kind of layer: linear, Conv1D, embedding.

    A subclass of `nn.Linear` whose output is not one tensor is none: the routers of some mixtures of experts.
    """
    if isinstance(module, nn.Linear):
        return type(module).forward is nn.Linear.forward or _gives_one_tensor(module)
    return isinstance(module, nn.Embedding) or is_conv1d(module)


def refuse_unsuitable(model: nn.Module, name: str) -> None:
    """SettingError where an update of the layer `name` would be wrong, or lost without a word."""
    module, advice = model.get_submodule(name), "Leave it out of targets."
    weight = module._parameters.get("weight")
    if weight is None:
        raise SettingError(f"The weight of {name} is computed from others, so it cannot be merged.", advice)
    if getattr(module, "max_norm", None) is not None:
        raise SettingError(
            f"The embedding {name} has max_norm set, so its forward pass changes its own weight.",
            "Leave it out of targets, or set max_norm to None first.",
        )
    if not weight.is_floating_point() and not in_4_bits(module):
        raise SettingError(
            f"The weight of {name} is stored as {weight.dtype}, a quantised format.",
            "Load the model in a floating-point precision, or in 4 bits with quantize='nf4'.",
        )
    if isinstance(module, nn.Embedding) and not _looks_up(module):
        raise SettingError(
            f"The embedding {name} does not look up the ids that it is given: its {type(module).__name__} "
            "computes them from other arguments.",
            advice,
        )
    rescales = getattr(getattr(model, "config", None), "rescale_every", 0)
    if rescales and name.endswith(("attention.output", "feed_forward.value")):  # RWKV
        raise SettingError(
            f"This model divides the weight of {name} in place when it is evaluated (rescale_every={rescales}).",
            "Set model.config.rescale_every to 0 first, or leave this layer out of targets.",
        )


def replace_modules(model: nn.Module, new: dict[nn.Module, nn.Module]) -> None:
    """Put `new[m]` wherever a module m stands in `model`, under each of its names."""
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):  # `named_children` leaves out a child's second name
            if child in new:
                setattr(parent, name, new[child])


def _gives_one_tensor(module: nn.Linear) -> bool:
    """Whether a subclass of `nn.Linear` still maps (..., k) to (..., d). Tried with zeros."""
    if in_4_bits(module) or not module.weight.is_floating_point():
        return True
    x = torch.zeros(1, module.in_features, dtype=module.weight.dtype, device=module.weight.device)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):  # some routers add noise
            h = module.forward(x)
    except (TypeError, RuntimeError, ValueError, IndexError):
        return False
    return isinstance(h, Tensor) and h.shape == (1, module.out_features)


def _looks_up(module: nn.Embedding) -> bool:
    """Whether a subclass of `nn.Embedding` takes ids and gives their rows, times its `embed_scale` if it has one.

    The position embeddings of OPT and BART take a mask or a length instead. Tried with the ids 0 and 1.
    """
    forward = type(module).forward
    if forward is nn.Embedding.forward:
        return True
    if len(inspect.signature(forward).parameters) != 2:  # self and the ids
        return False
    ids = torch.arange(min(2, module.num_embeddings), device=module.weight.device)[None]
    try:
        with torch.no_grad():
            h = module.forward(ids)
            rows = F.embedding(ids, module.weight) * getattr(module, "embed_scale", 1.0)
    except (TypeError, RuntimeError, ValueError, IndexError):
        return False
    if not isinstance(h, Tensor) or h.shape != rows.shape:
        return False
    return rows.is_meta or torch.allclose(h.float(), rows.float(), rtol=1e-2)
