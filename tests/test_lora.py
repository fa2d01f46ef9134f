"""What LoRA layers promise about the start, dropout, training and refusals."""

import math

import pytest
import torch
from torch import Tensor, nn

from lorabook.errors import SettingError
from lorabook.lora import LoRAConfig, LoRAEmbedding, LoRALayer, LoRALinear, apply_lora, layer_shape, lora_layers
from lorabook.merging import merge, remove, unmerge
from tests.kit.adapters import fill_adapter
from tests.kit.families import MODELS, VOCABULARY, gpt_bigcode, gradients, logits, token_ids
from tests.kit.untouched import assert_untouched, snapshot

STARCODER = ("c_attn", "c_proj", "c_fc", "wte", "wpe")


def random(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Step 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", MODELS)
def test_first_forward_is_the_base_bit_for_bit(kind, dtype):
    model = MODELS[kind]().to(dtype)
    before = logits(model)
    apply_lora(model, LoRAConfig(targets=("all-linear",) if kind == "Llama" else STARCODER))
    assert torch.equal(logits(model), before)
    assert {f.dtype for _, layer in lora_layers(model) for f in (layer.A, layer.B)} == {torch.float32}
    assert model(token_ids()).logits.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_output_has_the_dtype_of_the_base_layer(dtype):
    config = LoRAConfig(r=2, alpha=1)
    linear, embedding = (
        LoRALinear(nn.Linear(4, 5, dtype=dtype), config),
        LoRAEmbedding(nn.Embedding(6, 4, dtype=dtype), config),
    )
    assert linear(random(3, 4).to(dtype)).dtype == embedding(torch.arange(6)).dtype == dtype
    assert linear.A.dtype == linear.B.dtype == embedding.A.dtype == embedding.B.dtype == torch.float32


def test_only_one_factor_of_each_layer_has_a_gradient_at_first():
    model = gpt_bigcode()
    apply_lora(model, LoRAConfig(r=4, targets=STARCODER))
    grads = gradients(model, token_ids())
    for name, layer in lora_layers(model):
        moves, waits = ("A", "B") if isinstance(layer, LoRAEmbedding) else ("B", "A")
        assert grads[f"{name}.{moves}"].any() and not grads[f"{name}.{waits}"].any(), name


@pytest.mark.parametrize("targets", [("c_attn",), STARCODER])
def test_activation_checkpointing_changes_no_gradient(targets):
    model, ids = gpt_bigcode().train(), token_ids()
    apply_lora(model, LoRAConfig(r=4, targets=targets))
    forwards = []
    model.transformer.h[0].mlp.c_fc.register_forward_pre_hook(lambda *_: forwards.append(1))
    plain = gradients(model, ids)
    assert len(forwards) == 1
    forwards.clear()
    # transformers renames this method on the way to its version 6
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    checkpointed = gradients(model, ids)
    assert len(forwards) == 2, "nothing was computed again in the backward pass"
    for name, layer in lora_layers(model):
        assert checkpointed[f"{name}.{'A' if isinstance(layer, LoRAEmbedding) else 'B'}"].any(), name
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


# Drawing A and B


def test_linear_draws_a_as_torch_does():
    layer = LoRALinear(nn.Linear(64, 48), LoRAConfig(r=32), torch.Generator().manual_seed(7))
    oracle = torch.empty(32, 64)
    nn.init.kaiming_uniform_(oracle, a=math.sqrt(5), generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(layer.A.detach(), oracle)
    assert not layer.B.any()
    bound = 1 / math.sqrt(64)
    assert 0.99 * bound < layer.A.abs().max() <= bound


def test_embedding_draws_b_standard_normal():
    layer = LoRAEmbedding(nn.Embedding(10, 64), LoRAConfig(r=32), torch.Generator().manual_seed(7))
    assert not layer.A.any()
    assert abs(layer.B.mean()) < 4 / math.sqrt(layer.B.numel()) and 0.95 < layer.B.std() < 1.05


def test_seed_alone_decides_the_draw():
    def drawn(seed: int, outside: int) -> dict[str, Tensor]:
        model = gpt_bigcode()
        torch.manual_seed(outside)
        state = torch.get_rng_state()
        apply_lora(model, LoRAConfig(r=4, targets=("c_attn", "wte"), seed=seed))
        assert torch.equal(torch.get_rng_state(), state), "the global random state moved"
        return {name: p for name, p in model.named_parameters() if p.requires_grad and p.any()}

    first, again, other = drawn(5, outside=0), drawn(5, outside=1), drawn(6, outside=0)
    assert len(first) == 3 and first.keys() == again.keys() == other.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
    a, b = (first[f"transformer.h.{i}.attn.c_attn.A"] for i in (0, 1))
    assert not torch.equal(a, b), "two layers drew the same numbers"


# Dropout and modes


def test_dropout_falls_on_the_input():
    layer = LoRALinear(nn.Linear(64, 16, bias=False), LoRAConfig(r=2, alpha=2, dropout=0.5)).train()
    with torch.no_grad():
        layer.base_layer.weight.zero_(), layer.A.fill_(1), layer.B.fill_(1)
    torch.manual_seed(0)
    out = layer(torch.ones(8, 64))  # scaling * r * 2 * (how many of 64 inputs survive), the same in a row's 16 outputs
    assert torch.equal(out, out[:, :1].expand(8, 16))
    survivors = out[:, 0] / 4
    assert ((survivors > 10) & (survivors < 54)).all() and survivors.unique().numel() > 1
    assert torch.equal(layer.eval()(torch.ones(8, 64)), torch.full((8, 16), 128.0))


@pytest.mark.parametrize("training", [False, True])
def test_new_layers_take_the_mode_of_their_host(training):
    model = gpt_bigcode().train(training)
    apply_lora(model, LoRAConfig(r=4, dropout=0.5, targets=STARCODER))
    assert {m.training for m in model.modules()} == {training}
    fill_adapter(model)
    first, second = logits(model), logits(model)
    assert torch.equal(first, second) is not training
    assert torch.equal(logits(model.eval()), logits(model))


def test_embeddings_have_no_dropout():
    model = gpt_bigcode().train()
    apply_lora(model, LoRAConfig(r=4, dropout=0.9, targets=("wte", "wpe")))
    fill_adapter(model)
    assert torch.equal(logits(model), logits(model)) and torch.equal(logits(model), logits(model.eval()))


# Training


def test_training_moves_the_adapter_and_nothing_else():
    model, ids = gpt_bigcode().train(), token_ids(rows=4, below=40)
    base = {name: p.detach().clone() for name, p in model.named_parameters()}
    apply_lora(model, LoRAConfig(r=4, alpha=8, targets=STARCODER))
    start = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-2, weight_decay=0.1)
    losses = []
    for _ in range(4):
        loss = model(ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.01
    now = {name.replace(".base_layer.", "."): p for name, p in model.named_parameters()}
    assert [name for name in base if not torch.equal(now[name], base[name])] == []
    assert [name for name in start if torch.equal(now[name], start[name])] == []
    unseen = torch.tensor([t for t in range(VOCABULARY) if t not in ids])
    assert torch.equal(model.transformer.wte(unseen), base["transformer.wte.weight"][unseen])
    assert not torch.equal(model.transformer.wte(ids), base["transformer.wte.weight"][ids])
    remove(model)
    assert now.keys() - start.keys() == base.keys() and not any(isinstance(m, LoRALayer) for m in model.modules())
    assert all(torch.equal(p, base[name]) for name, p in model.named_parameters())


def test_layers_freeze_all_of_their_base():
    layer = LoRALinear(nn.Linear(4, 5), LoRAConfig(r=2))
    assert {name for name, p in layer.named_parameters() if p.requires_grad} == {"A", "B"}


# Refusals


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_default_device_changes_nothing(device):
    expected = gpt_bigcode()
    apply_lora(expected, LoRAConfig(r=4, targets=("c_attn", "wte")))
    model = gpt_bigcode()
    with torch.device(device):
        apply_lora(model, LoRAConfig(r=4, targets=("c_attn", "wte")))
    assert all(torch.equal(p, expected.get_parameter(n)) for n, p in model.named_parameters())


class Alias(nn.Module):
    """One linear layer under two names, and a block under two names, each name used once."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.block = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
        self.again, self.same = self.first, self.block

    def forward(self, x: Tensor) -> Tensor:
        return self.same(self.again(self.block(self.first(x))))


@pytest.mark.parametrize("targets", [("first",), ("again",), ("all-linear",), ("first", "again", "0")])
def test_a_layer_under_two_names_is_adapted_under_both(targets):
    torch.manual_seed(0)
    model, x = Alias(), random(3, 6)
    base = {n: p.detach().clone() for n, p in model.named_parameters()}
    report = apply_lora(model, LoRAConfig(r=2, alpha=4, targets=targets))
    fill_adapter(model)
    layers = dict(lora_layers(model))
    assert [m.name for m in report.modules] == list(layers) == ["first", "block.0"][: len(layers)]
    assert model.first is model.again and isinstance(model.again, LoRALinear)

    def plain(name: str, h: Tensor) -> Tensor:
        update = layers[name].delta() if name in layers else 0
        return h @ (base[f"{name}.weight"] + update).T + base[f"{name}.bias"]

    expected = x
    for _ in range(2):
        expected = plain("block.0", plain("first", expected)).tanh()
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected)
        merge(model)
        torch.testing.assert_close(model(x), expected)
        unmerge(model)
        torch.testing.assert_close(model(x), expected)
        remove(model)
    assert type(model.first) is nn.Linear and model.first is model.again and model.block is model.same
    assert all(torch.equal(p, base[n]) for n, p in model.named_parameters())


@pytest.mark.parametrize("targets", [("nonsense",), ("c_attn", "q_proj"), ("ln_1",), ("attn",), ("_attn",)])
def test_a_target_that_matches_nothing_names_what_exists(targets):
    model = gpt_bigcode()
    before = snapshot(model)
    with pytest.raises(SettingError, match=repr(targets[-1])) as refusal:
        apply_lora(model, LoRAConfig(targets=targets))
    assert all(name in str(refusal.value) for name in ("c_attn", "c_proj", "c_fc", "wte", "wpe", "lm_head"))
    assert_untouched(model, before)


def test_applying_twice_is_refused():
    model = gpt_bigcode()
    apply_lora(model, LoRAConfig(r=4, targets=("c_attn", "wte")))
    before = snapshot(model)
    with pytest.raises(SettingError, match="already"):
        apply_lora(model, LoRAConfig(targets=("c_fc",)))
    assert_untouched(model, before)


@pytest.mark.parametrize("reason", ["max_norm", "int8"])
def test_a_base_that_cannot_be_adapted_is_refused_before_any_change(reason):
    unfit = nn.Embedding(5, 4, max_norm=1.0)
    if reason == "int8":
        unfit = nn.Linear(4, 5)
        unfit.weight = nn.Parameter(torch.zeros(5, 4, dtype=torch.int8), requires_grad=False)
    model = nn.ModuleDict({"fine": nn.Linear(4, 4), "unfit": unfit})
    before = snapshot(model)
    with pytest.raises(SettingError, match=reason):
        apply_lora(model, LoRAConfig(r=2, targets=("fine", "unfit")))
    assert_untouched(model, before)


def test_the_shape_of_a_layer_in_4_bits_is_that_of_what_is_packed():
    layer = nn.Linear(6, 4)
    layer.weight = nn.Parameter(torch.zeros(12, 1, dtype=torch.uint8), requires_grad=False)
    layer.weight.quant_state = object()  # pyright: ignore[reportAttributeAccessIssue]
    assert layer_shape(layer) == (4, 6)
