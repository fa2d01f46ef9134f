import pytest

from lorabook import LoRAConfig, apply_lora
from lorabook.workbook.memory.block import kept_by_layer, kept_table, starcoder_block

# by hand, in KiB per token: 2,048 values, in the MLP 8,192, of 2 bytes; in the norms 4 bytes
INPUTS = {"c_attn": 4, "c_fc": 4, "the MLP's c_proj": 16}
# attention: 16 queries, a key and a value of 128 each, and its output
PASSED_ON = {
    "first norm": 8,
    "second norm": 8,
    "attention and its c_proj": 4 + 0.25 + 0.25 + 4,
    "activation function": 16,
}


def assert_kept(block, expected):
    assert kept_by_layer(block) == dict.fromkeys(kept_by_layer(block), 0) | expected


def test_a_trained_block_keeps_the_inputs_of_its_linear_layers_and_a_frozen_one_does_not():
    block = starcoder_block()
    assert_kept(block, INPUTS | PASSED_ON)
    assert_kept(block.requires_grad_(False), PASSED_ON)


@pytest.mark.parametrize("r", [1, 16])
def test_lora_keeps_the_inputs_of_the_layers_it_adapts(r):
    block, on_one = starcoder_block(), starcoder_block()
    apply_lora(block, LoRAConfig(r=r, alpha=32))
    apply_lora(on_one, LoRAConfig(r=r, alpha=32, targets=("c_attn",)))
    assert_kept(block, INPUTS | PASSED_ON)
    assert_kept(on_one, {"c_attn": 4} | PASSED_ON)


def test_the_table_adds_up_and_leaves_no_hooks():
    block = starcoder_block()
    table = kept_table({"all": block, "none": starcoder_block().requires_grad_(False)}).splitlines()
    assert table[0].split()[-2:] == ["all", "none"]
    assert "c_fc                             4.0          –" in table
    assert table[-1].split() == ["total", "64.5", "40.5"]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in block.modules())
