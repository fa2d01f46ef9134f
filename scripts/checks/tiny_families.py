"""Tiny random models of many causal architectures, made from transformers' configurations alone."""

from copy import deepcopy
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

VOCABULARY, WIDTH = 64, 32
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "max_position_embeddings": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
MOE: dict[str, Any] = {
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "n_group": 1,
    "topk_group": 1,
}
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8}
# What each family needs beside SIZES, by transformers' model type.
FAMILIES: dict[str, dict[str, Any]] = {
    "apertus": {},
    "arcee": {},
    "biogpt": {},
    "bitnet": {},
    "bloom": {},
    "codegen": {"rotary_dim": 8, "n_ctx": 64},
    "cohere": {},
    "cohere2": {"head_dim": 8},
    "ctrl": {"dff": 48},
    "deepseek_v2": MOE | LATENT | {"first_k_dense_replace": 1, "num_key_value_heads": 4, "head_dim": 8},
    "deepseek_v3": MOE | LATENT | {"first_k_dense_replace": 1, "num_key_value_heads": 4, "head_dim": 8},
    "diffllama": {},
    "dots1": MOE | {"first_k_dense_replace": 1, "n_shared_experts": 1},
    "ernie4_5": {"head_dim": 8},
    "ernie4_5_moe": MOE | {"moe_num_experts": 4, "moe_k": 2, "moe_layer_start_index": 1},
    "exaone4": {},
    "falcon": {},
    "falcon_h1": {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "head_dim": 8},
    "falcon_mamba": {"state_size": 4, "time_step_rank": 4},
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8},
    "gemma3_text": {"head_dim": 8},
    "glm": {"head_dim": 8},
    "glm4": {"head_dim": 8},
    "flex_olmo": MOE,
    "glm4_moe": MOE | {"head_dim": 8, "first_k_dense_replace": 1},
    "gpt2": {},
    "gpt_bigcode": {},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": 2, "num_heads": 4},
    "gpt_neox": {},
    "gpt_oss": MOE | {"head_dim": 8},
    "gptj": {"rotary_dim": 8},
    "granite": {},
    "granitemoe": MOE,
    "helium": {"head_dim": 8},
    "hunyuan_v1_dense": {"head_dim": 8},
    "jais2": {"head_dim": 8},
    "jamba": MOE | {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "jetmoe": MOE | {"kv_channels": 8},
    "lfm2": {},
    "llama": {},
    "llama4_text": MOE | {"head_dim": 8, "intermediate_size_mlp": 48},
    "mamba": {"state_size": 4, "time_step_rank": 4},
    "mamba2": {"state_size": 4, "num_heads": 8, "head_dim": 8, "n_groups": 2, "expand": 2, "chunk_size": 8},
    "minimax": MOE | {"head_dim": 8, "block_size": 8},
    "ministral": {"head_dim": 8},
    "mistral": {"head_dim": 8},
    "mixtral": MOE | {"head_dim": 8},
    "modernbert-decoder": {},
    "mpt": {},
    "nanochat": {},
    "nemotron": {"head_dim": 8},
    "olmo": {},
    "olmo2": {},
    "olmo3": {},
    "olmoe": MOE,
    "openai-gpt": {},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "persimmon": {},
    "phi": {},
    "phi3": {},
    "phimoe": MOE,
    "qwen2": {},
    "qwen2_moe": MOE,
    "qwen3": {"head_dim": 8},
    "qwen3_moe": MOE | {"head_dim": 8, "mlp_only_layers": [0]},
    "qwen3_next": MOE
    | {"head_dim": 8, "layer_types": ["linear_attention", "full_attention"]}
    | {"linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4},
    "recurrent_gemma": {"num_hidden_layers": 3, "lru_width": 32, "attention_window_size": 16, "head_dim": 8},
    "rwkv": {"attention_hidden_size": 32},
    "seed_oss": {"head_dim": 8},
    "smollm3": {},
    "stablelm": {},
    "starcoder2": {},
    "vaultgemma": {"head_dim": 8},
    "xglm": {"ffn_dim": 48, "attention_heads": 4},
}


def build(family: str) -> PreTrainedModel:
    """A model of `family`, whose weights come from one seed; the global random state is left alone."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        config = CONFIG_MAPPING[family](**(SIZES | deepcopy(FAMILIES[family])))
        model = AutoModelForCausalLM.from_config(config).eval()
        for parameter in model.parameters():  # as initialised, biases are zero and logits too small to tell apart
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model
