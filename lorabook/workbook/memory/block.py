"""A transformer block of StarCoderBase-1B, to see what it keeps for the backward pass."""

from torch import nn
from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM


def starcoder_block() -> nn.Module:
    """A new block as large as one of StarCoderBase-1B, with fused attention and without dropout."""
    sizes = GPTBigCodeConfig(vocab_size=8, n_positions=256, n_embd=2048, n_layer=1, n_head=16, n_inner=8192)
    return GPTBigCodeForCausalLM(sizes).transformer.h[0].eval()
