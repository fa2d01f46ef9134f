"""Tiny models of the families that attention and loading are tried on."""

from copy import deepcopy

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTBigCodeConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

T4, AMPERE = (7, 5), (8, 0)
IDS = {"vocab_size": 64, "bos_token_id": 0, "eos_token_id": 0}
GPT_SIZES = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "attn_pdrop": 0.0}
LLAMA_SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS = {
    "multi-query GPTBigCode": GPTBigCodeConfig(**IDS, **GPT_SIZES),
    "multi-head GPTBigCode": GPTBigCodeConfig(**IDS, **GPT_SIZES, multi_query=False),
    "GPT-2": GPT2Config(**IDS, **GPT_SIZES),
    "grouped-query Llama": LlamaConfig(**IDS, **LLAMA_SIZES, num_key_value_heads=2, max_position_embeddings=64),
}


def build(config: PreTrainedConfig, attention: str) -> torch.nn.Module:
    torch.manual_seed(0)
    # a copy, because a model keeps the attention's name in its configuration
    model = AutoModelForCausalLM.from_config(deepcopy(config), attn_implementation=attention).eval()
    assert model.config._attn_implementation == attention
    with torch.no_grad():
        for weights in model.parameters():  # the default initialisation makes near-uniform attention: hide nothing
            weights.add_(torch.randn_like(weights) * 0.2)
    return model


def save_model(folder, config: PreTrainedConfig = CONFIGS["multi-query GPTBigCode"], **options):
    folder.mkdir(parents=True, exist_ok=True)
    model = build(config, "sdpa")
    model.save_pretrained(folder, **options)
    words = Tokenizer(models.WordLevel({"<|endoftext|>": 0, "import": 1, "os": 2}, unk_token="<|endoftext|>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|endoftext|>").save_pretrained(folder)
    return model
