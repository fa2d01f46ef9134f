"""Where PEFT computes something else from an adapter file than lorabook's layers do, by what the base model is.

Three causes, read in PEFT 0.21 and transformers 5.24:

- Transformers 5 keeps the experts of a mixture in one tensor. PEFT takes the names that the experts' layers had before
  for that tensor, in every model of such a family, and drops the dense layers of the same names.
- A layer's weight is read where the layer is not called. PEFT's layers then give the base weight, and the update is
  left out; lorabook's give W0 + scaling * B A.
- A layer stands in two places. PEFT adapts one of them.
"""

from collections import Counter
from collections.abc import Iterable

from torch import nn

# Model types by the names that PEFT takes for experts: `_MODEL_TO_CONVERSION_PATTERN` in transformers'
# conversion_mapping, `_MOE_TARGET_MODULE_MAPPING` in PEFT's transformers_weight_conversion.
EXPERTS: dict[tuple[str, ...], frozenset[str]] = {
    ("gate", "w1", "w2", "w3"): frozenset({"minimax", "minimax_m2", "mixtral"}),
    ("gate", "gate_proj", "up_proj", "down_proj"): frozenset(
        {
            *("afmoe", "beam", "cohere2_moe", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots1", "ernie4_5_moe"),
            *("exaone_moe", "flex_olmo", "glm4_moe", "glm4_moe_lite", "glm4v_moe", "glm_moe_dsa", "hunyuan_v1_moe"),
            *("longcat_flash", "mellum", "olmoe", "qwen3_moe", "qwen3_next", "qwen3_omni_moe", "qwen3_omni_moe_text"),
            *("qwen3_omni_moe_thinker", "sarvam_mla", "solar_open"),
        }
    ),
}
# PEFT refuses these itself: `_check_lora_target_modules_mamba`.
NOT_IN_PEFT = {"out_proj": frozenset({"falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"})}
# Layers whose weight is read: by their model's type, or by the class of the module that holds them.
READ_IN_MODEL = {"dt_proj": frozenset({"falcon_mamba", "jamba", "mamba"})}
READ_IN_PARENT = {
    "out_proj": nn.MultiheadAttention,
    "linear1": nn.TransformerEncoderLayer,
    "linear2": nn.TransformerEncoderLayer,
}


def lost_in_peft(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Of `names`, adapted modules of `model`, those whose update PEFT drops or refuses, and why."""
    kind, names = _model_type(model), list(names)
    fused = {part for parts, kinds in EXPERTS.items() if kind in kinds for part in parts}
    lost = ignored_by_peft(model, names)
    for name in names:
        part = name.rsplit(".", 1)[-1]
        if part in fused:
            lost[name] = f"in models of type {kind} it takes the name {part} for the experts"
        elif kind in NOT_IN_PEFT.get(part, ()):
            lost[name] = f"it adapts no {part} in models of type {kind}"
    return lost


def ignored_by_peft(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Of `names`, adapted modules of `model`, those whose update PEFT leaves out, all of it or in part, and why."""
    kind, ignored = _model_type(model), {}
    places = Counter(child for parent in model.modules() for child in parent._modules.values())
    for name in names:
        above, _, part = name.rpartition(".")
        read = kind in READ_IN_MODEL.get(part, ()) or isinstance(
            model.get_submodule(above), READ_IN_PARENT.get(part, ())
        )
        if read:
            ignored[name] = "its weight is read without a call of the layer, where PEFT gives the base weight"
        elif places[model.get_submodule(name)] > 1:
            ignored[name] = "the layer stands in several places, and PEFT adapts one of them"
    return ignored


def _model_type(model: nn.Module) -> str | None:
    return getattr(getattr(model, "config", None), "model_type", None)
