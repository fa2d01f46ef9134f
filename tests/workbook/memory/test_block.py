"""The reference page's table of what a block keeps, against the tensors that PyTorch saves."""

from collections import Counter

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from lorabook import LoRAConfig, apply_lora
from lorabook.workbook.memory.block import starcoder_block
from tests.kit.notebooks import MORE_MEMORY, table

TOKENS = 100


def kept(block) -> Counter:
    """How many tensors the block keeps of each size, as (values per token, bytes), without statistics and A x."""
    seen = {}

    def collect(tensor):
        if TOKENS in tensor.shape:
            seen[tensor.data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(collect, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        block(torch.randn(1, TOKENS, 2048, requires_grad=True))
    sizes = Counter((tensor.numel() // TOKENS, tensor.itemsize) for tensor in seen.values())
    return Counter({size: number for size, number in sizes.items() if size[0] > 16})


def rows() -> list[tuple[Counter, float]]:
    """The rows of the table: the tensors of each, and its KiB."""
    found = []
    for _, sizes, kib in table(MORE_MEMORY, "What a block keeps"):
        values, size = sizes.split(" × ")
        each = [int(value.replace(",", "")) for value in values.strip("()").split(" + ")]
        found.append((Counter((value, int(size)) for value in each), float(kib)))
    return found


def test_the_rows_are_the_tensors_of_a_trained_block_and_add_up():
    found = rows()
    assert len(found) == 4
    for tensors, kib in found:
        assert sum(values * size * number for (values, size), number in tensors.items()) == kib * 1024
    assert sum(kib for _, kib in found) == 64.5
    assert sum((tensors for tensors, _ in found), Counter()) == kept(starcoder_block())


def test_freezing_leaves_out_the_first_row():
    _, *others = [tensors for tensors, _ in rows()]
    assert kept(starcoder_block().requires_grad_(False)) == sum(others, Counter())


@pytest.mark.seconds
@pytest.mark.parametrize("r", [1, 16])
def test_lora_keeps_the_inputs_of_the_layers_it_adapts(r):
    block, on_one = starcoder_block(), starcoder_block()
    apply_lora(block, LoRAConfig(r=r, alpha=32))
    apply_lora(on_one, LoRAConfig(r=r, alpha=32, targets=("c_attn",)))
    first, *others = [tensors for tensors, _ in rows()]
    assert kept(block) == first + sum(others, Counter())
    assert kept(on_one) == sum(others, Counter({(2048, 2): 1}))
