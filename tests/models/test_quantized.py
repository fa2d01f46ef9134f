"""A base in 4 bits: the rounding, LoRA on it held to a dense base and to PEFT, training, and what is refused."""

import pytest
import torch
from torch import Tensor, nn

from lorabook import adapters
from lorabook.diagnosis.findings import report
from lorabook.errors import SettingError
from lorabook.lora import LoRAConfig, apply_lora, count_parameters, in_4_bits, lora_layers
from lorabook.memory.estimate import estimate
from lorabook.memory.plan import Plan
from lorabook.models import load_model, quantized
from lorabook.models.precision import precision_for
from lorabook.models.quantized import dense_weight, packed_layers, quantize
from lorabook.training.loop import finetune
from tests.kit import nf4
from tests.kit.adapters import adapted, fill_adapter
from tests.kit.families import gradients, logits, token_ids
from tests.kit.oracles import copy_factors, peft_factors, with_peft
from tests.kit.quantized import BASES, dense_copy, packed, storage_bytes
from tests.kit.runs import HELD_OUT, TRAIN, assert_close, config, values
from tests.kit.untouched import assert_untouched, snapshot

bitsandbytes = pytest.importorskip("bitsandbytes", reason="needs bitsandbytes: pip install 'lorabook[quantized]'")
LORA = LoRAConfig(r=4, alpha=6)


# The rounding


def test_the_plain_nf4_of_the_workbook_is_that_of_bitsandbytes_bit_for_bit():
    levels = nf4.nf4_levels()
    assert torch.equal(levels, bitsandbytes.functional.get_4bit_type("nf4", device="cpu"))
    draw = torch.Generator().manual_seed(0)
    for shape in ((64, 64), (7, 320), (128, 1024)):
        W = torch.randn(shape, generator=draw) * 0.05
        W[0, :64] = 0  # a block without a scale
        stored, state = bitsandbytes.functional.quantize_4bit(W, blocksize=64, quant_type="nf4")
        codes, scale = nf4.pack(W, levels)
        pairs = torch.stack([stored.flatten() >> 4, stored.flatten() & 15], dim=1)
        # Where the scale is 0 the code means nothing, and versions of bitsandbytes differ in it.
        full = (scale > 0).repeat_interleave(64)
        assert torch.equal(codes.flatten()[full], pairs.flatten().long()[full])
        assert torch.equal(scale.flatten(), state.absmax)
        assert torch.equal(
            nf4.unpack(codes, scale, levels).view(shape), bitsandbytes.functional.dequantize_4bit(stored, state)
        )


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("double", [False, True], ids=["single", "double"])
def test_every_linear_layer_but_the_head_is_rounded_and_nothing_else(kind, double):
    plain, model = BASES[kind](), packed(kind, double=double)
    before, levels = dict(plain.named_parameters()), nf4.nf4_levels()
    names = {name for name, _ in packed_layers(model)}
    linear = {n for n, m in plain.named_modules() if type(m).__name__ in ("Linear", "Conv1D") and n != "lm_head"}
    assert names == linear and count_parameters(model)[1] == count_parameters(plain)[1]
    for name, layer in packed_layers(model):
        conv1d = type(plain.get_submodule(name)).__name__ == "Conv1D"  # whose weight is (k, d)
        W = before[f"{name}.weight"].detach()
        rounded = nf4.unpack(*nf4.pack(W.T.contiguous() if conv1d else W, levels), levels)
        rounded = rounded.view(W.T.shape).T if conv1d else rounded.view_as(W)
        if double:
            assert layer.weight.quant_state.nested
            torch.testing.assert_close(dense_weight(layer), rounded, rtol=0.05, atol=0)
        else:
            assert torch.equal(dense_weight(layer), rounded)
    for name, p in model.named_parameters():
        if name.rpartition(".")[0] not in names or name.endswith("bias"):
            assert torch.equal(p, before[name]) and p.dtype == before[name].dtype


def test_packing_leaves_the_random_state_alone_and_trains_nothing():
    before = torch.get_rng_state()
    model = packed("GPTBigCode")
    assert torch.equal(torch.get_rng_state(), before)
    apply_lora(model, LORA)
    assert {n.rpartition(".")[2] for n, p in model.named_parameters() if p.requires_grad} == {"A", "B"}


# LoRA on it


@pytest.mark.parametrize("kind", BASES)
@pytest.mark.parametrize("double", [False, True], ids=["single", "double"])
def test_logits_and_gradients_are_those_of_lora_on_the_unpacked_weights(kind, double):
    model = packed(kind, double=double)
    dense = dense_copy(model)
    report = apply_lora(model, LORA), apply_lora(dense, LORA)
    assert [(m.name, m.shape, m.parameters) for m in report[0].modules] == [
        (m.name, m.shape, m.parameters) for m in report[1].modules
    ]
    assert (report[0].trainable, report[0].total) == (report[1].trainable, report[1].total)
    fill_adapter(model), fill_adapter(dense)
    torch.testing.assert_close(logits(model), logits(dense), rtol=0, atol=1e-5)
    model.train(), dense.train()
    assert_close(gradients(model, token_ids()), gradients(dense, token_ids()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_layer_equals_the_formula_and_passes_the_gradient_of_its_input(dtype):
    base = nn.Linear(128, 48).to(dtype)
    host = nn.Sequential(base)
    quantize(host)
    layer = adapted(host, LORA)[0]
    weight = bitsandbytes.functional.dequantize_4bit(layer.base_layer.weight.data, layer.base_layer.weight.quant_state)
    x = torch.randn(3, 5, 128, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
    h = layer(x)
    (grad,) = torch.autograd.grad(h.float().square().sum(), x)
    y = x.detach().double().requires_grad_()
    W, A, B = (t.detach().double() for t in (weight, layer.A, layer.B))
    expected = y @ W.T + base.bias.detach().double() + 6 / 4 * (y @ A.T @ B.T)
    (exact,) = torch.autograd.grad(expected.square().sum(), y)
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}[dtype]
    assert h.dtype == grad.dtype == dtype
    for mine, other in ((h, expected), (grad, exact)):
        assert (mine.double() - other).norm() <= tolerance * other.norm()


@pytest.mark.parametrize("kind", BASES)
def test_logits_and_gradients_equal_those_of_peft_on_the_same_packed_base(kind):
    model = packed(kind)
    theirs = with_peft(model, LORA)
    adapted(model, LORA)
    copy_factors(model, theirs)
    places = [name for name, _ in lora_layers(model)]
    inner = theirs.get_submodule(f"base_model.model.{places[0]}")
    assert type(inner).__module__ == "peft.tuners.lora.bnb", "PEFT must see the 4 bits, or this compares nothing"
    torch.testing.assert_close(logits(model), logits(theirs), rtol=0, atol=1e-5)
    mine = gradients(model, token_ids())
    gradients(theirs, token_ids())
    for name in places:
        for factor, other in zip("AB", peft_factors(theirs, name)):
            torch.testing.assert_close(mine[f"{name}.{factor}"], other.grad, rtol=1e-4, atol=1e-6)


def test_layers_without_lora_pass_the_gradient_too_after_an_evaluation():
    """In eval mode bitsandbytes may repack a weight for the CPU, and then no gradient passes it."""
    model = packed("Llama")  # no biases: bitsandbytes would not even fail
    apply_lora(model, LoRAConfig(r=4, alpha=6, targets=("layers.0.self_attn.q_proj",)))
    before = values(model)
    logits(model.eval())
    assert all(torch.equal(before[name], now) for name, now in values(model).items() if name.endswith("weight"))
    model.train()
    assert all(g.abs().sum() > 0 for n, g in gradients(model, token_ids()).items() if n.endswith("B"))
    assert not any(layer.support_avx512bf16_for_cpu for _, layer in packed_layers(model))


def test_adapters_change_places_on_a_packed_base():
    model, alone = packed("GPTBigCode"), packed("GPTBigCode")
    bare = logits(model)
    adapters.add(model, "one", LORA)
    adapters.add(model, "two", LoRAConfig(r=2, alpha=2, targets=("c_attn", "wte"), seed=1))
    adapters.activate(model, "one")
    fill_adapter(model)
    assert torch.equal(logits(model), logits(adapted(alone, LORA)))
    adapters.activate(model, "two")
    adapters.deactivate(model)
    assert torch.equal(logits(model), bare)


# Training


@pytest.mark.seconds
def test_training_equals_training_on_the_unpacked_weights_and_moves_no_packed_byte(tmp_path):
    model = packed("GPTBigCode")
    dense = dense_copy(model)
    stored = {name: layer.weight.data.clone() for name, layer in packed_layers(model)}
    apply_lora(model, LORA), apply_lora(dense, LORA)
    runs = {}
    for name, trained in (("packed", model), ("dense", dense)):
        runs[name] = finetune(trained, TRAIN, HELD_OUT, config(steps=12), output=tmp_path / name)
    pairs = zip(runs["packed"].losses, runs["dense"].losses)
    assert all(abs(a - b) < 1e-3 for a, b in pairs)
    assert runs["packed"].held_out[-1][1] < runs["packed"].held_out[0][1] - 0.2
    for name, layer in lora_layers(model):
        assert in_4_bits(layer.base_layer) and torch.equal(layer.base_layer.weight.data, stored[name])
    assert any("scaling" in line for line in report(tmp_path / "packed"))


@pytest.mark.slow
def test_the_pocket_model_learns_on_a_base_in_4_bits_almost_as_in_full():
    from lorabook.data import stackoverflow
    from lorabook.data.examples import encode_all

    loaded = load_model("pocket", device="cpu")
    pairs = stackoverflow.load("sample").pairs
    rows, held = (encode_all(some, loaded.tokenizer, 128) for some in (pairs[:60], pairs[60:75]))
    ends = {}
    for in_full in (True, False):
        model = load_model("pocket", device="cpu", quantize=None if in_full else "nf4").model
        apply_lora(model, LoRAConfig(r=8, alpha=16))
        run = finetune(model, rows, held, config(lr=5e-3, steps=16, batch_tokens=1024, micro_tokens=512, clip=1.0))
        ends[in_full] = run.held_out
        assert run.held_out[-1][1] < run.held_out[0][1] - 0.2
    (_, full_start), (_, full_end) = ends[True]
    (_, start), (_, end) = ends[False]
    assert 0 < start - full_start < 0.2 and end - full_end < 0.8 * (start - full_start) + 0.05


# Bytes


@pytest.mark.parametrize("kind", [*BASES, "pocket"])
def test_the_ledger_counts_every_byte_that_is_stored(kind, monkeypatch):
    monkeypatch.setattr(quantized, "precision_for", lambda device: precision_for("cuda", (7, 5)))  # as on a T4
    model = packed(kind, dtype=torch.float16)
    told = estimate(model.config, Plan(LORA, 1, 8, weights="nf4")).components["frozen weights"]
    assert told == storage_bytes(model)


# Refusals


def test_what_cannot_be_packed_is_refused_and_left_as_it_was(monkeypatch):
    model = adapted(BASES["GPTBigCode"](), LORA)
    before = snapshot(model)
    with pytest.raises(SettingError, match="has LoRA layers"):
        quantize(model)
    ragged = BASES["GPTBigCode"](n_embd=96)
    with pytest.raises(SettingError, match=r"c_attn has 96 inputs, no multiple of 64"):
        quantize(ragged)
    assert_untouched(model, before)
    assert not any(True for _ in packed_layers(ragged))
    twice = packed("GPTBigCode")
    with pytest.raises(SettingError, match="in 4 bits already"):
        quantize(twice)
    beside = BASES["GPTBigCode"]()
    adapters.add(beside, "kept", LORA)
    with pytest.raises(SettingError, match="Quantise the base first"):
        quantize(beside)


def test_a_weight_that_bitsandbytes_has_repacked_is_not_trained_on():
    model = packed("GPTBigCode")
    apply_lora(model, LORA)
    next(packed_layers(model))[1].weight.quant_state.packing_format_for_cpu = True
    with pytest.raises(SettingError, match="bitsandbytes has repacked transformer"):
        finetune(model, TRAIN, HELD_OUT, config())


def test_a_derived_linear_layer_is_left_alone():
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    model = nn.Sequential(Doubled(64, 64), nn.Linear(64, 64))
    quantize(model)
    assert [name for name, _ in packed_layers(model)] == ["1"]
