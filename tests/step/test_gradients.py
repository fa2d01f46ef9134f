"""Recomputed activations: when they are switched on, whose gradients they leave out."""

import pytest
import torch

from lorabook.lora import LoRAConfig, apply_lora, lora_layers
from lorabook.step.gradients import set_activation_checkpointing
from tests.kit.families import gpt_bigcode
from tests.kit.runs import lora_model


@pytest.mark.parametrize(
    ("wanted", "device", "on"),
    [(None, "cuda", True), (None, "cpu", False), (True, "cpu", True), (False, "cuda", False)],
)
def test_activations_are_recomputed_by_default_on_a_gpu_alone(wanted, device, on):
    model = lora_model()
    set_activation_checkpointing(model, wanted, torch.device(device))
    assert any(getattr(m, "gradient_checkpointing", False) for m in model.modules()) is on


def test_recomputed_activations_leave_a_frozen_embeddings_output_without_a_gradient():
    """transformers switches its gradient on; the tensor would then live from the forward pass to the step's end."""
    model = gpt_bigcode()
    apply_lora(model, LoRAConfig(targets=("c_attn",)))
    for _ in range(2):  # a model goes from run to run
        set_activation_checkpointing(model, True, torch.device("cpu"))
        assert not model.get_input_embeddings()(torch.tensor([0])).requires_grad
        model(torch.tensor([[1, 2, 3]])).logits.sum().backward()
        assert all(layer.B.grad.abs().sum() > 0 for _, layer in lora_layers(model))
        model.zero_grad()
