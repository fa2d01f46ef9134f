"""Merging, unmerging and removing LoRA layers, the tied output head included."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from lorabook.errors import SettingError
from lorabook.lora import LoRAConfig, LoRALayer, apply_lora, lora_layers
from lorabook.merging import merge, remove, unmerge
from tests.kit.adapters import adapted, fill_adapter
from tests.kit.families import MODELS, gpt_bigcode, gradients, llama, logits, token_ids
from tests.kit.oracles import copy_factors, with_peft
from tests.kit.untouched import assert_untouched, snapshot

ARTICLE = LoRAConfig(r=16, alpha=8, dropout=0.1, targets=("c_attn", "c_proj", "c_fc", "wte", "wpe"))
LLAMA = LoRAConfig(r=4, alpha=8, targets=("q_proj", "down_proj", "embed_tokens", "lm_head"))


def trained(kind: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    return adapted(MODELS[kind]().to(dtype), LLAMA if kind == "Llama" else ARTICLE)


# Merge


@pytest.mark.parametrize("kind", MODELS)
def test_merging_keeps_the_logits_also_in_a_saved_and_reloaded_model(kind, tmp_path):
    model = trained(kind)
    base = logits(MODELS[kind]())
    unmerged = logits(model)
    factors = {n for n, p in model.named_parameters() if p.requires_grad}
    assert (unmerged - base).abs().max() > 0.1, "the adapter does nothing, so merging it proves nothing"
    merge(model)
    assert not model.config.tie_word_embeddings
    assert {n for n, p in model.named_parameters() if p.requires_grad} == factors, "the merged weights would be trained"
    torch.testing.assert_close(logits(model), unmerged, rtol=0, atol=1e-5)
    remove(model)
    assert not any(isinstance(m, LoRALayer) for m in model.modules())
    model.save_pretrained(tmp_path)
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert not reloaded.config.tie_word_embeddings
    assert torch.equal(logits(reloaded), logits(model))
    torch.testing.assert_close(logits(reloaded), unmerged, rtol=0, atol=1e-5)


def test_peft_changes_the_head_where_we_untie_it():
    """What the test above would catch: PEFT merges into the shared weight, so the head changes with `wte`."""
    model = gpt_bigcode()
    peft_model = with_peft(model, ARTICLE).eval()
    apply_lora(model, ARTICLE)
    fill_adapter(model)
    copy_factors(model, peft_model)
    unmerged = logits(peft_model)
    torch.testing.assert_close(logits(model), unmerged, rtol=0, atol=1e-5)
    assert (logits(peft_model.merge_and_unload()) - unmerged).abs().max() > 0.1


@pytest.mark.parametrize("targets", [("c_attn", "c_fc"), ("wpe",)])
def test_a_tied_head_stays_tied_where_it_is_not_touched(targets):
    model = gpt_bigcode()
    apply_lora(model, LoRAConfig(r=4, targets=targets))
    fill_adapter(model)
    unmerged = logits(model)
    merge(model)
    assert model.config.tie_word_embeddings and model.lm_head.weight is model.transformer.wte.weight
    torch.testing.assert_close(logits(model), unmerged, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_merged_weights_are_the_exact_sum_rounded_once(kind, dtype):
    model = trained(kind, dtype)
    exact = {}
    for name, layer in lora_layers(model):
        update = layer.scaling * (layer.B.double() @ layer.A.double())
        transposed = isinstance(layer.base_layer, (Conv1D, nn.Embedding))
        exact[name] = layer.base_layer.weight.double() + (update.T if transposed else update)
    merge(model)
    for name, layer in lora_layers(model):
        weight = layer.base_layer.weight
        half_step = torch.finfo(dtype).eps / 2 * exact[name].abs()
        assert weight.dtype == dtype
        assert ((weight.double() - exact[name]).abs() <= 1.001 * half_step + 1e-6).all(), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_an_update_of_zero_merges_into_the_very_base(dtype):
    model = gpt_bigcode().to(dtype)
    base = {name: p.detach().clone() for name, p in model.named_parameters()}
    apply_lora(model, ARTICLE)
    merge(model)
    remove(model)
    assert all(torch.equal(model.get_parameter(name), p) for name, p in base.items())


def test_delta_is_fp32_and_laid_out_as_the_base_weight():
    for kind in MODELS:
        for name, layer in lora_layers(trained(kind, torch.float16)):
            assert layer.delta().dtype == torch.float32 and layer.delta().shape == layer.base_layer.weight.shape, name


def test_a_merged_model_has_no_update_left_to_add():
    model = trained("GPTBigCode")
    merge(model)
    merged = logits(model)
    fill_adapter(model, seed=9)
    assert torch.equal(logits(model), merged) and {layer.merged for _, layer in lora_layers(model)} == {True}
    assert "merged=True" in repr(model.lm_head) + repr(model.transformer.wte)


# Unmerge


@pytest.mark.parametrize("kind", MODELS)
def test_a_hundred_cycles_in_fp16_are_bit_equal(kind):
    model = trained(kind, torch.float16)
    before, start = snapshot(model), logits(model)
    tied = model.config.tie_word_embeddings
    for cycle in range(100):
        fill_adapter(model, seed=cycle)  # another update each time: the drift of adding and subtracting would grow
        merge(model)
        unmerge(model)
    fill_adapter(model)
    assert_untouched(model, before)
    assert torch.equal(logits(model), start) and model.config.tie_word_embeddings is tied


def test_unmerging_ties_the_head_again():
    model, plain = trained("GPTBigCode"), gpt_bigcode()
    original = model.transformer.wte.base_layer.weight
    merge(model)
    assert model.lm_head.weight is original and model.transformer.wte.base_layer.weight is not original
    assert not model.config.tie_word_embeddings
    unmerge(model)
    assert model.lm_head.weight is model.transformer.wte.base_layer.weight is original
    assert model.config.tie_word_embeddings
    remove(model)
    assert torch.equal(logits(model), logits(plain)) and model.lm_head.weight is model.transformer.wte.weight


def test_both_sides_of_a_tie_can_be_adapted():
    model = gpt_bigcode()
    apply_lora(model, LoRAConfig(r=4, targets=("wte", "lm_head")))
    fill_adapter(model)
    unmerged = logits(model)
    merge(model)
    torch.testing.assert_close(logits(model), unmerged, rtol=0, atol=1e-5)
    unmerge(model)
    assert torch.equal(logits(model), unmerged) and model.config.tie_word_embeddings
    assert model.lm_head.base_layer.weight is model.transformer.wte.base_layer.weight


def test_a_copy_of_a_merged_model_unmerges_on_its_own():
    model = trained("GPTBigCode")
    unmerged = logits(model)
    merge(model)
    twin = deepcopy(model)
    unmerge(twin)
    assert torch.equal(logits(twin), unmerged) and twin.lm_head.weight is twin.transformer.wte.base_layer.weight
    assert all(layer.merged for _, layer in lora_layers(model))


def test_training_goes_on_after_unmerge():
    model, ids = trained("GPTBigCode"), token_ids()
    before = gradients(model.eval(), ids)
    merge(model)
    unmerge(model)
    after = gradients(model, ids)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


CASTS = {
    "half": lambda model: model.half(),
    "bfloat16": lambda model: model.bfloat16(),
    "double": lambda model: model.double(),
    "to": lambda model: model.to(torch.float16),
    "half, then float": lambda model: model.half().float(),
}


@pytest.mark.parametrize("cast", CASTS.values(), ids=CASTS)
@pytest.mark.parametrize("kind", MODELS)
def test_a_cast_while_merged_is_a_cast_of_the_base(kind, cast):
    model, plain = trained(kind), cast(MODELS[kind]())
    merge(model)
    cast(model)
    unmerge(model)
    base = {n.replace(".base_layer.", "."): p for n, p in model.named_parameters(remove_duplicate=False)}
    for name, p in plain.named_parameters(remove_duplicate=False):
        assert base[name].dtype == p.dtype and torch.equal(base[name], p), name
    assert model.config.tie_word_embeddings is plain.config.tie_word_embeddings
    remove(model)
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) is (kind != "Llama")
    assert torch.equal(logits(model), logits(plain))


# Without a copy, and refusals


def test_merging_without_a_copy_keeps_none_and_is_final():
    with_copy, without = trained("Llama"), trained("Llama")
    merge(with_copy)
    merge(without, keep_copy=False)
    assert torch.equal(logits(without), logits(with_copy))
    assert all(layer.kept for _, layer in lora_layers(with_copy))
    assert not any(layer.kept for _, layer in lora_layers(without))
    before = snapshot(without)
    with pytest.raises(SettingError, match="keep_copy=False"):
        unmerge(without)
    assert_untouched(without, before)


def test_merging_twice_and_unmerging_what_is_not_merged_are_refused():
    model = trained("GPTBigCode")
    before = snapshot(model)
    with pytest.raises(SettingError, match="Nothing is merged"):
        unmerge(model)
    assert_untouched(model, before)
    merge(model)
    before = snapshot(model)
    with pytest.raises(SettingError, match="merged already"):
        merge(model)
    assert_untouched(model, before)


def test_a_model_that_is_merged_in_part_is_not_merged_once_more():
    """One block alone was merged: a second update on top of the first would be silent."""
    model = trained("GPTBigCode")
    merge(model.transformer.h[0])
    before = snapshot(model)
    with pytest.raises(SettingError, match="merged already"):
        merge(model)
    assert_untouched(model, before)


@pytest.mark.parametrize("action", [merge, unmerge, remove])
def test_a_model_without_adapter_is_left_alone(action):
    model = llama()
    before = snapshot(model)
    with pytest.raises(SettingError):
        action(model)
    assert_untouched(model, before)
