"""Tiny causal language models with the real architectures: StarCoder's, GPT-2's and Llama's.

Each has 64 tokens, 32 positions unless said otherwise, width 32, 2 layers and 4 heads, no dropout, and is in eval mode.
Its weights come from `seed` alone: building one leaves the global random state as it was.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTBigCodeConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

T4, AMPERE = (7, 5), (8, 0)  # compute capabilities
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
LONGER = GPT_SIZES | NO_DROPOUT | {"n_positions": 64}
CONFIGS: dict[str, PreTrainedConfig] = {  # the kinds of attention, each with 64 positions
    "multi-query GPTBigCode": GPTBigCodeConfig(**(IDS | LONGER)),
    "multi-head GPTBigCode": GPTBigCodeConfig(**(IDS | LONGER), multi_query=False),
    "GPT-2": GPT2Config(**(IDS | LONGER)),
    "grouped-query Llama": LlamaConfig(**(IDS | LLAMA_SIZES | {"max_position_embeddings": 64})),
}


def gpt_bigcode(seed: int = 0, **changes: Any) -> PreTrainedModel:
    """StarCoder's architecture: multi-query attention, learned positions, the head tied to `wte`."""
    return build(GPTBigCodeConfig(**(IDS | GPT_SIZES | NO_DROPOUT | changes)), seed=seed)


def gpt2(seed: int = 0, **changes: Any) -> PreTrainedModel:
    """GPT-2: `Conv1D` in place of linear layers, the head tied to `wte`."""
    return build(GPT2Config(**(IDS | GPT_SIZES | NO_DROPOUT | changes)), seed=seed)


def llama(seed: int = 0, **changes: Any) -> PreTrainedModel:
    """Llama: grouped-query attention, no biases, and a head of its own."""
    return build(LlamaConfig(**(IDS | LLAMA_SIZES | changes)), seed=seed)


MODELS = {"GPTBigCode": gpt_bigcode, "GPT-2": gpt2, "Llama": llama}


def build(config: PreTrainedConfig, attention: str = "sdpa", seed: int = 0) -> PreTrainedModel:
    """A model of `config` whose attention is the implementation of that name."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        # a copy of the config, because the model writes the attention's name into it
        model = AutoModelForCausalLM.from_config(deepcopy(config), attn_implementation=attention).eval()
        for parameter in model.parameters():  # as initialised, biases are zero and attention is near uniform
            parameter.add_(torch.randn_like(parameter) * 0.1)
    assert model.config._attn_implementation == attention
    return model


def save_model(
    folder: Path, config: PreTrainedConfig = CONFIGS["multi-query GPTBigCode"], **options: Any
) -> PreTrainedModel:
    """A model folder as transformers writes it, with a tokenizer that knows two words. Returns the model."""
    folder.mkdir(parents=True, exist_ok=True)
    model = build(config)
    model.save_pretrained(folder, **options)
    words = Tokenizer(models.WordLevel({"<|endoftext|>": 0, "import": 1, "os": 2}, unk_token="<|endoftext|>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|endoftext|>").save_pretrained(folder)
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
