"""Which adapters the inference server vLLM can serve, and what it has to be told.

Read in vLLM's source: vllm/config/lora.py (ranks), vllm/lora/peft_helper.py (refused options), vllm/lora/utils.py and
lora_model.py (an adapted module must be one of vLLM's linear layers, or an embedding that the model's class lists).
vLLM itself is not run here: what is said to be refused is what that source refuses.
"""

from collections.abc import Mapping
from typing import Any

from lorabook.lora import LoRAConfig

MAX_LORA_RANKS, DEFAULT_MAX_LORA_RANK = (1, 8, 16, 32, 64, 128, 256, 320, 512), 16
# Options of an adapter_config.json that vLLM refuses, with the values that say nothing.
REFUSED = {"modules_to_save": (None, []), "use_dora": (None, False), "bias": (None, "none")}
PEFT_RANK = 8  # of a config that names none
MERGE = "merge it into its base (`lorabook merge`) and serve the merged model."


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
