"""What each layer of a transformer block keeps for the backward pass."""

from collections.abc import Mapping
from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

WIDTH, TOKENS = 2048, 100  # no weight has a dimension of 100
SMALL = 0.1  # KiB per token; what keeps less is left out, as are the statistics of norms and attention, and A x
LAYERS = {  # their names in a table: the linear layers first
    "attn.c_attn": "c_attn",
    "mlp.c_fc": "c_fc",
    "mlp.c_proj": "the MLP's c_proj",
    "ln_1": "first norm",
    "attn": "attention and its c_proj",  # whose input is attention's output
    "ln_2": "second norm",
    "mlp.act": "activation function",
}


def starcoder_block() -> nn.Module:
    """A new block as large as one of StarCoderBase-1B, with fused attention and without dropout."""
    sizes = GPTBigCodeConfig(vocab_size=8, n_positions=256, n_embd=WIDTH, n_layer=1, n_head=16, n_inner=4 * WIDTH)
    return GPTBigCodeForCausalLM(sizes).transformer.h[0].eval()


def kept_by_layer(block: nn.Module) -> dict[str, float]:
    """KiB per token that each of LAYERS keeps in a forward pass in bfloat16, without weights and SMALL tensors.

    A tensor that two layers keep counts for the first.
    """
    seen, running = {}, ["block"]
    kept = dict.fromkeys(LAYERS, 0.0)

    def collect(tensor: Tensor) -> Tensor:
        if TOKENS in tensor.shape and tensor.data_ptr() not in seen:
            seen[tensor.data_ptr()] = tensor  # holds the tensor, so that no other gets its address
            layer = next(name for name in reversed(running) if name in LAYERS)
            size = tensor.nbytes / TOKENS / 1024
            kept[layer] += size if size > SMALL else 0
        return tensor

    with ExitStack() as stack:
        for name, module in block.named_modules():
            stack.enter_context(module.register_forward_pre_hook(lambda *_, name=name: running.append(name)))
            stack.enter_context(module.register_forward_hook(lambda *_: running.pop() and None))
        stack.enter_context(saved_tensors_hooks(collect, lambda tensor: tensor))
        stack.enter_context(torch.autocast("cpu", torch.bfloat16))
        block(torch.randn(1, TOKENS, WIDTH, requires_grad=True))
    return {LAYERS[name]: size for name, size in kept.items()}


def kept_table(blocks: Mapping[str, nn.Module]) -> str:
    """`kept_by_layer` of several blocks, one column each, with their sums."""
    columns = {name: kept_by_layer(block) for name, block in blocks.items()}
    lines = [f"{'KiB per token':25}" + "".join(f"{name:>11}" for name in columns)]
    for layer in LAYERS.values():
        cells = [f"{kept[layer]:11.1f}" if kept[layer] else f"{'–':>11}" for kept in columns.values()]
        lines.append(f"{layer:25}" + "".join(cells))
    lines.append(f"{'total':25}" + "".join(f"{sum(kept.values()):11.1f}" for kept in columns.values()))
    return "\n".join(lines)
