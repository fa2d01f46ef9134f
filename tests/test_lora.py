"""LoRA layers and `apply_lora`, held against loralib and PEFT; merging is in test_merge.py."""

import math
from copy import deepcopy

import loralib
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny import MODELS, VOCABULARY, assert_untouched, fill_adapter, gpt_bigcode, llama, logits, snapshot, token_ids
from torch import Tensor, nn
from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM
from transformers.pytorch_utils import Conv1D

from lorabook.errors import SettingError
from lorabook.lora import (
    LoRAConfig,
    LoRAEmbedding,
    LoRALayer,
    LoRALinear,
    apply_lora,
    count_parameters,
    lora_layers,
    merge,
    remove,
    unmerge,
)

STARCODER = ("c_attn", "c_proj", "c_fc", "wte", "wpe")
# Every set of targets that parity is asked for: (model, targets).
TARGETS = [
    ("GPTBigCode", ("c_attn",)),
    ("GPTBigCode", STARCODER),
    ("GPTBigCode", ("all-linear",)),
    ("GPT-2", STARCODER),
    ("GPT-2", ("all-linear",)),
    ("Llama", ("q_proj", "v_proj", "embed_tokens")),
    ("Llama", ("self_attn.o_proj", "lm_head")),
    ("Llama", ("all-linear",)),
]


def random(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gradients(model: nn.Module, ids: Tensor) -> dict[str, Tensor]:
    """Next-token loss, backwards: the gradient of every trainable parameter."""
    model.zero_grad()
    model(ids, labels=ids).loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def with_peft(model: nn.Module, config: LoRAConfig) -> nn.Module:
    targets = "all-linear" if config.targets == ("all-linear",) else list(config.targets)
    theirs = LoraConfig(
        r=config.r,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        use_rslora=config.rslora,
        target_modules=targets,
        fan_in_fan_out=any(isinstance(m, Conv1D) for m in model.modules()),
    )
    return get_peft_model(deepcopy(model), theirs)


def peft_factors(peft_model: nn.Module, name: str) -> tuple[nn.Parameter, nn.Parameter]:
    layer = peft_model.get_submodule(f"base_model.model.{name}")
    if layer.lora_embedding_A:
        return layer.lora_embedding_A["default"], layer.lora_embedding_B["default"]
    return layer.lora_A["default"].weight, layer.lora_B["default"].weight


# Against loralib


@pytest.mark.parametrize("transposed", [False, True], ids=["Linear", "Conv1D"])
def test_linear_equals_loralib(transposed):
    theirs = loralib.Linear(12, 20, r=3, lora_alpha=5, fan_in_fan_out=transposed, merge_weights=False)
    base = Conv1D(20, 12) if transposed else nn.Linear(12, 20)
    ours = LoRALinear(base, LoRAConfig(r=3, alpha=5))
    with torch.no_grad():
        base.weight.copy_(theirs.weight)
        base.bias.copy_(theirs.bias)
        for mine, other in ((ours.A, theirs.lora_A), (ours.B, theirs.lora_B)):
            mine.copy_(0.3 * random(*mine.shape))
            other.copy_(mine)
    x, y = random(2, 7, 12), random(2, 7, 12).requires_grad_()
    z = y.detach().clone().requires_grad_()
    torch.testing.assert_close(ours(x), theirs(x))
    ours(y).pow(2).sum().backward()
    theirs(z).pow(2).sum().backward()
    for mine, other in ((ours.A, theirs.lora_A), (ours.B, theirs.lora_B), (y, z)):
        torch.testing.assert_close(mine.grad, other.grad)


@pytest.mark.parametrize("padding", [None, 4])
def test_embedding_equals_loralib(padding):
    theirs = loralib.Embedding(11, 6, r=3, lora_alpha=5, padding_idx=padding, merge_weights=False)
    ours = LoRAEmbedding(nn.Embedding(11, 6, padding_idx=padding), LoRAConfig(r=3, alpha=5))
    with torch.no_grad():
        ours.base_layer.weight.copy_(theirs.weight)
        for mine, other in ((ours.A, theirs.lora_A), (ours.B, theirs.lora_B)):
            mine.copy_(0.3 * random(*mine.shape))
            other.copy_(mine)
    tokens = torch.tensor([[1, 4, 4, 10], [0, 2, 2, 2]])
    torch.testing.assert_close(ours(tokens), theirs(tokens))
    ours(tokens).pow(2).sum().backward()
    theirs(tokens).pow(2).sum().backward()
    torch.testing.assert_close(ours.A.grad, theirs.lora_A.grad)
    torch.testing.assert_close(ours.B.grad, theirs.lora_B.grad)


# Against PEFT


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize(("kind", "targets"), TARGETS)
def test_model_equals_peft(kind, targets, rslora):
    model, ids = MODELS[kind](), token_ids()
    config = LoRAConfig(r=4, alpha=6, targets=targets, rslora=rslora)
    peft_model = with_peft(model, config)
    report = apply_lora(model, config)
    fill_adapter(model)
    layers = dict(lora_layers(model))
    with torch.no_grad():
        for name, layer in layers.items():
            for mine, other in zip((layer.A, layer.B), peft_factors(peft_model, name), strict=True):
                other.copy_(mine)
    assert (report.trainable, report.total) == peft_model.get_nb_trainable_parameters()
    assert (report.trainable, report.total) == count_parameters(model)
    torch.testing.assert_close(logits(model, ids), logits(peft_model, ids), rtol=0, atol=1e-5)
    ours, theirs = gradients(model, ids), gradients(peft_model, ids)
    assert len(ours) == len(theirs) == 2 * len(layers)
    for name in layers:
        for factor, other in zip("AB", peft_factors(peft_model, name), strict=True):
            torch.testing.assert_close(ours[f"{name}.{factor}"], other.grad, rtol=0, atol=1e-5)


def test_counts_of_starcoderbase_1b():
    config = GPTBigCodeConfig(
        vocab_size=49152, n_positions=8192, n_embd=2048, n_layer=24, n_head=16, n_inner=8192, multi_query=True
    )
    with torch.device("meta"):
        model = GPTBigCodeForCausalLM(config)
    report = apply_lora(model, LoRAConfig(r=16, alpha=8, dropout=0.1, targets=STARCODER))
    assert (report.trainable, report.total) == (12_091_392, 1_149_298_688)
    assert len(report.modules) == 4 * 24 + 2 and sum(m.parameters for m in report.modules) == report.trainable
    assert report.modules[0].name == "transformer.wte" and report.modules[0].shape == (2048, 49152)
    assert str(report).endswith("trainable parameters: 12,091,392 of 1,149,298,688 (1.0521%)")


def test_embedding_with_a_scale_equals_peft():
    """Gemma 3 multiplies its embeddings; the update is part of the embedding, so it is multiplied too."""
    gemma = pytest.importorskip("transformers.models.gemma3.modeling_gemma3")
    base = gemma.Gemma3TextScaledWordEmbedding(11, 6, padding_idx=0, embed_scale=2.5)
    model = nn.Sequential(base)
    config = LoRAConfig(r=3, alpha=5, targets=("0",))
    peft_model = with_peft(model, config)
    apply_lora(model, config)
    fill_adapter(model)
    with torch.no_grad():
        for mine, other in zip((model[0].A, model[0].B), peft_factors(peft_model, "0"), strict=True):
            other.copy_(mine)
    tokens = torch.arange(11)
    torch.testing.assert_close(model(tokens), peft_model(tokens))
    unmerged = model(tokens)
    merge(model)
    torch.testing.assert_close(model(tokens), unmerged)


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


@pytest.mark.parametrize(
    "setting",
    [{"r": 0}, {"r": -1}, {"r": True}, {"r": 1.5}, {"r": "8"}, {"dropout": 1.0}, {"dropout": -0.1}, {"dropout": "x"}]
    + [{"alpha": 0}, {"alpha": -1}, {"alpha": math.nan}, {"alpha": math.inf}, {"alpha": "16"}, {"alpha": True}]
    + [{"targets": ()}, {"targets": ("",)}, {"targets": 3}],
    ids=str,
)
def test_settings_out_of_range_are_refused_with_their_value(setting):
    ((name, value),) = setting.items()
    with pytest.raises(SettingError, match=name) as refusal:
        LoRAConfig(**setting)
    assert repr(value) in refusal.value.problem and refusal.value.advice


def test_scaling():
    assert LoRAConfig(r=16, alpha=8).scaling == 0.5
    assert LoRAConfig(r=16, alpha=8, rslora=True).scaling == 2.0
    assert LoRAConfig(targets="c_fc").targets == ("c_fc",)


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


@pytest.mark.parametrize("action", [merge, unmerge, remove])
def test_a_model_without_adapter_is_left_alone(action):
    model = llama()
    before = snapshot(model)
    with pytest.raises(SettingError):
        action(model)
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
