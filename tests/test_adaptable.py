"""Which layers can be adapted, and models that read a layer's weight: the update is in it, or is refused."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from lorabook import adapters
from lorabook.errors import SettingError
from lorabook.lora import LoRAConfig, LoRAEmbedding, LoRALinear, adaptable, apply_lora, lora_layers, matched
from lorabook.merging import merge, remove, unmerge
from scripts.checks import families_table as families
from tests.kit.adapters import fill_adapter
from tests.kit.families import gpt2, gpt_bigcode, llama
from tests.kit.untouched import assert_untouched, snapshot


@torch.no_grad()
def output(model: nn.Module) -> torch.Tensor:
    return families.logits(model)


# The weight that a LoRA layer shows


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("build", [gpt_bigcode, gpt2, llama])
def test_a_layer_shows_the_weight_that_it_computes_with(build, dtype):
    model = build().to(dtype)
    apply_lora(
        model,
        LoRAConfig(r=2, alpha=3, targets=("all-linear", "lm_head", "wte" if build is not llama else "embed_tokens")),
    )
    fill_adapter(model)
    shown = {name: layer.weight for name, layer in lora_layers(model)}
    biases = {name: layer.bias for name, layer in lora_layers(model)}
    merge(model)
    for name, layer in lora_layers(model):
        assert torch.equal(layer.weight, layer.base_layer.weight) and torch.equal(shown[name], layer.weight)
        assert biases[name] is getattr(layer.base_layer, "bias", None)
    unmerge(model)


def test_that_weight_is_no_parameter_and_its_gradient_reaches_a_and_b():
    layer = LoRALinear(nn.Linear(4, 5), LoRAConfig(r=2))
    nn.init.normal_(layer.B)
    names = ["A", "B", "base_layer.weight", "base_layer.bias"]
    assert list(layer.state_dict()) == [n for n, _ in layer.named_parameters()] == names
    factor = torch.randn(5, 4)
    (layer.weight * factor).sum().backward()
    torch.testing.assert_close(layer.A.grad, layer.scaling * layer.B.detach().T @ factor)
    torch.testing.assert_close(layer.B.grad, layer.scaling * factor @ layer.A.detach().T)
    assert layer.base_layer.weight.grad is None
    with pytest.raises(AttributeError):
        layer.weight = torch.zeros(5, 4)


def test_a_layer_has_the_sizes_that_its_base_has():
    linear = LoRALinear(nn.Linear(4, 5, bias=False), LoRAConfig(r=2))
    assert (linear.in_features, linear.out_features, linear.bias) == (4, 5, None)
    table = LoRAEmbedding(nn.Embedding(6, 4, padding_idx=1), LoRAConfig(r=2))
    assert (table.num_embeddings, table.embedding_dim, table.padding_idx) == (6, 4, 1)


class Encoder(nn.Module):
    """PyTorch's own attention, which reads `out_proj.weight`, and in evaluation the weights of both linear layers."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.0, batch_first=True)

    def forward(self, x):
        return self.layer(self.attention(x, x, x, need_weights=False)[0])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("targets", [("attention.out_proj",), ("layer.self_attn.out_proj",), ("linear1", "linear2")])
def test_attention_of_torch_has_the_update(targets, training):
    torch.manual_seed(0)
    model, x = Encoder().train(training), torch.randn(2, 5, 16)
    with torch.no_grad():
        base = model(x)
    apply_lora(model, LoRAConfig(r=2, alpha=4, targets=targets))
    fill_adapter(model)
    trained = model(x)
    trained.sum().backward()
    assert all(layer.A.grad.any() and layer.B.grad.any() for _, layer in lora_layers(model))
    with torch.no_grad():
        frozen = model(x)
        merge(model)
        merged = model(x)
    assert (merged - base).abs().max() > 0.01
    torch.testing.assert_close(trained.detach(), merged)
    torch.testing.assert_close(frozen, merged)


@pytest.mark.parametrize(
    ("family", "target"),
    [("mamba", "dt_proj"), ("falcon_mamba", "dt_proj"), ("jamba", "dt_proj"), ("jamba", "all-linear")],
)
def test_a_state_space_model_has_the_update(family, target):
    model = families.build(family)
    base = output(model)
    apply_lora(model, LoRAConfig(r=4, alpha=8, targets=(target,)))
    torch.testing.assert_close(output(model), base, rtol=1e-6, atol=1e-6)  # W0 + 0, laid elsewhere in memory
    fill_adapter(model)
    unmerged = output(model)
    families_loss = model(input_ids=families.token_ids(), use_cache=False).logits.float().logsumexp(-1).sum()
    families_loss.backward()
    assert all(layer.B.grad.any() for _, layer in lora_layers(model))
    merge(model)
    assert (output(model) - base).abs().max() > 1e-3
    torch.testing.assert_close(output(model), unmerged, rtol=0, atol=1e-5)
    remove(model)
    torch.testing.assert_close(output(model), unmerged, rtol=0, atol=1e-5)


def test_a_weight_that_is_read_is_none_of_a_mixed_batch():
    model = families.build("jamba")
    adapters.add(model, "one", LoRAConfig(r=2, targets=("dt_proj", "q_proj")))
    with (
        adapters.mixed_batch(model, ["one", None]),
        pytest.raises(SettingError, match="reads the weight of an adapted"),
    ):
        output(model)
    output(model)


def test_a_table_whose_rows_are_asked_for_their_device_can_be_adapted():
    """Llama 4 reads `embed_tokens.weight.device`."""
    model = families.build("llama4_text")
    apply_lora(model, LoRAConfig(r=4, targets=("embed_tokens",)))
    fill_adapter(model)
    unmerged = output(model)
    merge(model)
    torch.testing.assert_close(output(model), unmerged, rtol=0, atol=1e-5)


# What is none, or is refused


@pytest.mark.parametrize(("family", "router"), [("llama4_text", "router"), ("phimoe", "router")])
def test_a_router_that_gives_two_tensors_is_no_linear_layer(family, router):
    model = families.build(family)
    state = torch.get_rng_state()
    routers = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and not adaptable(m)]
    assert torch.equal(torch.get_rng_state(), state)
    assert len(routers) == 2 and all(name.endswith(router) for name in routers)
    assert set(routers).isdisjoint(matched(model, ("all-linear",)))
    with pytest.raises(SettingError, match="matches no linear layer"):
        matched(model, (router,))


@pytest.mark.parametrize(
    ("family", "target"), [("opt", "embed_positions"), ("biogpt", "embed_positions"), ("rwkv", "attention.output")]
)
def test_a_layer_whose_update_would_be_wrong_is_refused_by_name(family, target):
    model = families.build(family)
    before = snapshot(model)
    with pytest.raises(SettingError, match=rf"\.{target}") as refusal:
        apply_lora(model, LoRAConfig(r=4, targets=(target,)))
    assert "out of targets" in refusal.value.advice
    assert_untouched(model, before)


def test_rwkv_without_rescaling_is_adapted():
    model = families.build("rwkv")
    model.config.rescale_every = 0
    apply_lora(model, LoRAConfig(r=4, targets=("attention.output", "feed_forward.value")))
    fill_adapter(model)
    unmerged = output(model)
    merge(model)
    torch.testing.assert_close(output(model), unmerged, rtol=0, atol=1e-5)


def test_a_weight_made_from_others_is_refused():
    model = nn.Sequential(weight_norm(nn.Linear(4, 4)))
    with pytest.raises(SettingError, match="computed from others"):
        apply_lora(model, LoRAConfig(r=2, targets=("0",)))


def test_a_scaled_embedding_is_one():
    """Gemma 3 multiplies its rows: it looks up what it is given."""
    model = families.build("gemma3_text")
    apply_lora(model, LoRAConfig(r=4, targets=("embed_tokens",)))
    fill_adapter(model)
    unmerged = output(model)
    merge(model)
    torch.testing.assert_close(output(model), unmerged, rtol=0, atol=1e-5)
