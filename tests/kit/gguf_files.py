"""GGUF files of tiny Llama models, written with llama.cpp's own package as its converter writes them."""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig

END = "<|im_end|>"
TEXT = ["import os\n    return x + 1234", "for i in range(10):\n    print(i)\n", "a list of dictionaries"]
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def bpe() -> Tokenizer:
    """Byte-level BPE whose digits never merge, as SmolLM's: digits apart, then GPT-2's pattern."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def llama(vocabulary: int) -> torch.nn.Module:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return model


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries and keys in llama.cpp's order: the halves that rotate together lie side by side."""
    d, k = weight.shape
    return weight.reshape(heads, 2, d // heads // 2, k).swapaxes(1, 2).reshape(d, k)


def write(
    path: Path,
    model: torch.nn.Module,
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    architecture: str = "llama",
    blocks: int | None = None,
    left_out: str = "",
) -> dict[str, np.ndarray]:
    """Write `model` to `path`, matrices as `kind`. Returns what the file's matrices are worth, by the model's names."""
    c, tokenizer = model.config, bpe()
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(blocks or c.num_hidden_layers)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    writer.add_rope_freq_base(c.rope_parameters["rope_theta"])
    writer.add_vocab_size(c.vocab_size)
    vocabulary = tokenizer.get_vocab()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(sorted(vocabulary, key=vocabulary.__getitem__))
    writer.add_token_types([gguf.TokenType.CONTROL] + [gguf.TokenType.NORMAL] * (len(vocabulary) - 1))
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    worth = {}
    for name, p in model.state_dict().items():
        weight = p.numpy()
        inner = name.removeprefix("model.layers.").removesuffix(".weight")
        block, _, layer = inner.partition(".")
        if name == "model.embed_tokens.weight":
            theirs = "token_embd.weight"
        elif name == "model.norm.weight":
            theirs = "output_norm.weight"
        elif layer in NAMES:
            theirs = f"blk.{block}.{NAMES[layer]}.weight"
        else:
            continue  # the tied head
        if left_out and left_out in theirs:
            continue
        heads = {"self_attn.q_proj": c.num_attention_heads, "self_attn.k_proj": c.num_key_value_heads}.get(layer)
        stored = permuted(weight, heads) if heads else weight
        use = kind if weight.ndim == 2 else gguf.GGMLQuantizationType.F32
        packed = gguf.quants.quantize(np.ascontiguousarray(stored), use)
        writer.add_tensor(theirs, packed, raw_dtype=use)
        worth[name] = gguf.quants.dequantize(packed, use).reshape(stored.shape)
        if heads:  # back: the permutation's inverse
            d, k = weight.shape
            worth[name] = worth[name].reshape(heads, d // heads // 2, 2, k).swapaxes(1, 2).reshape(d, k)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return worth
