"""What autograd keeps, against a count by hand."""

import pytest
from torch import nn

from lorabook import LoRAConfig, apply_lora
from lorabook.workbook.memory.kept import kept_per_token, starcoder_block


def test_a_trained_linear_layer_keeps_its_input_in_16_bits_and_a_frozen_one_nothing():
    layer = nn.Linear(64, 32, bias=False)
    assert kept_per_token(layer, 64) == 64 * 2
    assert kept_per_token(layer.requires_grad_(False), 64) == 0


def test_a_tensor_that_two_layers_keep_counts_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.activation = nn.Tanh()
            self.one, self.other = nn.Linear(64, 32, bias=False), nn.Linear(64, 16, bias=False)

        def forward(self, x):
            shared = self.activation(x.bfloat16())  # tanh keeps its output
            return self.one(shared).sum() + self.other(shared).sum()

    assert kept_per_token(Twice(), 64) == 64 * 2


@pytest.mark.parametrize(("what", "kib"), [("trained", 64.5), ("frozen", 40.5), ("LoRA", 64.5)])
def test_a_block_keeps_what_notebook_02_s_table_adds_up(what, kib):
    """Norms 16, attention 8.5, the nonlinear function 16, inputs of linear layers 24; statistics and A x on top."""
    block = starcoder_block()
    if what == "frozen":
        block.requires_grad_(False)
    elif what == "LoRA":
        apply_lora(block, LoRAConfig(r=16, alpha=32))
    assert kib <= kept_per_token(block) / 1024 < kib + 0.25
