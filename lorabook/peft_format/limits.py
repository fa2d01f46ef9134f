"""What other programs leave out or refuse of an adapter: PEFT by what the base model is, vLLM by the settings.

PEFT computes something else than lorabook's layers for three causes, read in PEFT 0.21 and transformers 5.24:

- Transformers 5 keeps the experts of a mixture in one tensor. PEFT takes the names that the experts' layers had before
  for that tensor, in every model of such a family, and drops the dense layers of the same names.
- A layer's weight is read where the layer is not called. PEFT's layers then give the base weight, and the update is
  left out; lorabook's give W0 + scaling * B A.
- A layer stands in two places. PEFT adapts one of them.

What vLLM refuses was read in its source (vllm/config/lora.py for ranks, lora/peft_helper.py for options, lora/utils.py
and lora_model.py for modules); vLLM itself is not run here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from lorabook.lora import LoRAConfig

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

MAX_LORA_RANKS, DEFAULT_MAX_LORA_RANK = (1, 8, 16, 32, 64, 128, 256, 320, 512), 16
# Options of an adapter_config.json that vLLM refuses, with the values that say nothing.
REFUSED = {"modules_to_save": (None, []), "use_dora": (None, False), "bias": (None, "none")}
PEFT_RANK = 8  # of a config that names none
MERGE = "merge it into its base (`lorabook merge`) and serve the merged model."


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


def check_vllm_compatible(config: LoRAConfig | Mapping[str, Any]) -> list[str]:
    """What stands between an adapter and vLLM with default settings, each with what to do; empty where nothing does.

    Args:
        config: of an adapter of ours, or what any `adapter_config.json` holds.
    """
    if isinstance(config, LoRAConfig):
        patterns = {"rank_pattern": config.rank_pattern, "alpha_pattern": config.alpha_pattern}
        config = {"r": config.r, "target_modules": config.targets, **patterns}
    found, r, targets = [], config.get("r", PEFT_RANK), config.get("target_modules") or ()
    if r > MAX_LORA_RANKS[-1]:
        found.append(f"The rank r is {r}, and vLLM takes {MAX_LORA_RANKS[-1]} at most: {MERGE}")
    elif r > DEFAULT_MAX_LORA_RANK:
        enough = next(rank for rank in MAX_LORA_RANKS if rank >= r)
        found.append(
            f"The rank r is {r}, above vLLM's default limit of {DEFAULT_MAX_LORA_RANK}: start it with "
            f"--max-lora-rank {enough} (it knows {', '.join(map(str, MAX_LORA_RANKS))} and no others)."
        )
    for option, nothing in REFUSED.items():
        if config.get(option) not in nothing:
            found.append(f"The adapter sets {option}={config[option]!r}, which vLLM refuses: train one without it.")
    if config.get("rank_pattern") or config.get("alpha_pattern"):
        found.append(f"The adapter has modules with an r or alpha of their own, which vLLM does not read: {MERGE}")
    names = {target.rsplit(".", 1)[-1] for target in ([targets] if isinstance(targets, str) else targets)}
    if "wpe" in names:
        found.append(f"The adapter has wpe, and vLLM has no LoRA for positions: {MERGE}")
    if embeddings := sorted(names & {"wte", "embed_tokens", "lm_head"}):
        found.append(
            f"The adapter has {' and '.join(embeddings)}, which vLLM takes only where its class of the model lists "
            f"them as embedding_modules, and that differs between versions: if yours refuses them, {MERGE}"
        )
    return found
