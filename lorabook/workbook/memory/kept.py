"""The bytes that autograd keeps for the backward pass of a block, for each token."""

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM


def starcoder_block() -> nn.Module:
    """A new block as large as one of StarCoderBase-1B, without dropout."""
    sizes = GPTBigCodeConfig(vocab_size=8, n_positions=256, n_embd=2048, n_layer=1, n_head=16, n_inner=8192)
    return GPTBigCodeForCausalLM(sizes).transformer.h[0].eval()


def kept_per_token(block: nn.Module, width: int = 2048) -> float:
    """Bytes that autograd keeps for each token of a sequence (1, tokens, width), in mixed precision with bf16.

    The input requires a gradient, as behind other blocks that have something to train. What doesn't grow with the
    number of tokens, such as weights, is left out: it's the difference between 100 tokens and 50.
    """
    return (_kept(block, 100, width) - _kept(block, 50, width)) / 50


def _kept(block: nn.Module, tokens: int, width: int) -> int:
    sizes: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        sizes[tensor.data_ptr()] = tensor.nbytes  # by address, so that what is saved twice counts once
        return tensor

    x = torch.randn(1, tokens, width, requires_grad=True)
    with saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        block(x)
    return sum(sizes.values())
