"""Families against the models that transformers builds: shapes from tables, configurations and folders."""

import json
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    GPT2Config,
    GPTBigCodeConfig,
    LlamaConfig,
    Qwen2Config,
    Starcoder2Config,
)

import lorabook
from lorabook.errors import SettingError
from lorabook.lora import LoRAConfig, apply_lora, count_parameters, matched
from lorabook.memory.dry_run import dry_run, measure
from lorabook.memory.estimate import estimate
from lorabook.memory.families import FAMILIES, LLAMA, shape_of
from lorabook.memory.plan import Plan
from lorabook.memory.shape import Module, Shape
from lorabook.models.known import KNOWN
from tests.kit.families import GPT_SIZES, IDS, LLAMA_SIZES

POCKET = Path(lorabook.__file__).parent / "assets" / "pocket"
CONFIGS = {
    "GPT-2": GPT2Config(**IDS, **GPT_SIZES),
    "GPT-2, untied, narrow MLP": GPT2Config(**IDS, **GPT_SIZES, n_inner=48, tie_word_embeddings=False),
    "multi-query GPTBigCode": GPTBigCodeConfig(**IDS, **GPT_SIZES),
    "multi-head GPTBigCode, untied": GPTBigCodeConfig(**IDS, **GPT_SIZES, multi_query=False, tie_word_embeddings=False),
    "grouped-query Llama": LlamaConfig(**IDS, **LLAMA_SIZES),
    "multi-query Llama with biases": LlamaConfig(
        **IDS, **(LLAMA_SIZES | {"num_key_value_heads": 1}), attention_bias=True, mlp_bias=True
    ),
    "StarCoder2": Starcoder2Config(**IDS, **LLAMA_SIZES),
    "multi-head Llama, tied, own head size": LlamaConfig(
        **IDS, **(LLAMA_SIZES | {"num_key_value_heads": 4}), head_dim=6, tie_word_embeddings=True
    ),
}
ARTICLE_TARGETS = ("c_attn", "c_proj", "c_fc", "wte", "wpe")


def build(config, dtype: torch.dtype = torch.float32) -> nn.Module:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=dtype)


def sizes_in(model: nn.Module) -> dict[str, tuple[int, int, bool]]:
    """(d, k, has a bias) of every linear layer and embedding. Conv1D keeps its weight as (k, d), an embedding too."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            found[name] = (*module.weight.shape, module.bias is not None)
        elif isinstance(module, nn.Embedding) or type(module).__name__ == "Conv1D":
            found[name] = (*reversed(module.weight.shape), getattr(module, "bias", None) is not None)
    return found


def assert_sizes(shape: Shape, model: nn.Module) -> None:
    """`shape` has every module of `model`, in its order, and its counts of parameters and bytes."""
    assert [(m.name, (m.d, m.k, m.bias)) for m in shape.modules] == [*sizes_in(model).items()]
    assert all(m.embedding == isinstance(model.get_submodule(m.name), nn.Embedding) for m in shape.modules)
    assert shape.parameters == count_parameters(model)[1]
    assert shape.buffer_bytes == sum(b.nbytes for b in model.buffers())


@pytest.mark.parametrize("name", CONFIGS)
def test_every_size_is_that_of_the_real_model(name):
    shape = shape_of(CONFIGS[name])
    assert_sizes(shape, build(CONFIGS[name]))
    assert_sizes(shape, build(CONFIGS[name], torch.float16))
    assert replace(shape_of(shape.family.config(shape)), name=shape.name) == shape


@pytest.mark.seconds
def test_a_new_family_is_one_entry(monkeypatch):
    """Qwen2: Llama with biases on queries, keys and values, and no others."""

    def linears(shape: Shape) -> tuple[Module, ...]:
        biased = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
        return tuple(replace(m, bias=m.name in biased) for m in LLAMA.linears(shape))

    monkeypatch.setitem(FAMILIES, "qwen2", replace(LLAMA, name="qwen2", linears=linears))
    sizes = LLAMA_SIZES | {"hidden_size": 128, "intermediate_size": 344, "max_position_embeddings": 128}
    config = Qwen2Config(**IDS, **sizes)
    shape = shape_of(config)
    assert_sizes(shape, build(config))
    for method in (LoRAConfig(r=16), 1.0):
        plan = Plan(method, 2, 96, "fp32")
        told, dry, real = estimate(shape, plan), dry_run(shape, plan), measure(config, plan, "cpu")
        assert (told.trainable, told.parameters) == (real.trainable, real.parameters)
        assert dry.peak == real.peak
        assert told.predicted_peak == pytest.approx(real.peak, rel=0.02)


@pytest.mark.parametrize("name", CONFIGS)
def test_targets_match_what_apply_lora_matches(name):
    shape = shape_of(CONFIGS[name])
    llama, down = shape.family.rotary, shape.linears[-1].name
    ends = [("q_proj", "v_proj"), (f"1.{down}", "embed_tokens")] if llama else [("c_proj",), ("wte", "wpe")]
    for targets in (("all-linear",), *ends, ("lm_head", "0.self_attn.k_proj" if llama else "h.1.attn.c_attn")):
        model = build(CONFIGS[name])
        assert [m.name for m in shape.matched(targets)] == matched(model, targets)
        report = apply_lora(model, LoRAConfig(r=3, targets=targets))
        assert [(m.name, (m.d, m.k)) for m in shape.matched(targets)] == [(m.name, m.shape) for m in report.modules]


def test_a_target_without_a_match_is_refused_in_the_same_words():
    config = CONFIGS["multi-query GPTBigCode"]
    for target in ("proj", "transformer", "", "c_attn.", "h.2.attn.c_attn"):
        with pytest.raises(SettingError) as theirs:
            matched(build(config), (target,))
        with pytest.raises(SettingError) as ours:
            shape_of(config).matched((target,))
        assert ours.value.advice == theirs.value.advice and repr(target) in ours.value.problem


def test_known_models_have_their_published_size():
    for name, known in KNOWN.items():
        assert (shape_of(name).name, shape_of(name).parameters) == (name, known.parameters)
    assert shape_of(KNOWN["smollm2"].hub_id) == shape_of("smollm2")


def test_starcoderbase_is_the_real_one_and_hides_a_buffer_of_64_mib():
    shape = shape_of("bigcode/starcoderbase-1b")
    sizes = {"n_embd": 2048, "n_layer": 24, "n_head": 16, "n_inner": 8192, "n_positions": 8192}
    model = build(GPTBigCodeConfig(**(IDS | {"vocab_size": 49152}), **sizes))
    assert_sizes(shape, model)
    assert shape.buffer_bytes == 64 * 2**20
    assert apply_lora(model, LoRAConfig(16, 8, targets=ARTICLE_TARGETS)).total == 1_149_298_688
    assert sum(16 * (m.d + m.k) for m in shape.matched(ARTICLE_TARGETS)) == 12_091_392


@pytest.mark.parametrize(
    ("name", "size", "billions"),
    [("-3b", (2816, 36, 22), 3.0), ("-7b", (4096, 42, 32), 7.3), ("", (6144, 40, 48), 15.5)],
)
def test_larger_starcoderbases_are_the_real_ones(name, size, billions):
    """Sizes as in their config.json on the hub."""
    shape = shape_of(f"bigcode/starcoderbase{name}")
    sizes = dict(zip(("n_embd", "n_layer", "n_head"), size), n_positions=8192)
    assert_sizes(shape, build(GPTBigCodeConfig(**(IDS | {"vocab_size": 49152}), **sizes)))
    assert round(shape.parameters / 1e9, 1) == billions


@pytest.mark.parametrize(("size", "billions"), [("3b", 3.0), ("7b", 7.2), ("15b", 16.0)])
def test_starcoder2_is_what_transformers_builds(size, billions):
    shape = shape_of(f"bigcode/starcoder2-{size}")
    assert_sizes(shape, build(shape.family.config(shape)))
    assert round(shape.parameters / 1e9, 1) == billions


def test_llama_2_is_what_transformers_builds_by_default():
    shape = shape_of("meta-llama/Llama-2-7b-hf")
    assert shape.parameters == 6_738_415_616
    assert_sizes(shape, build(LlamaConfig(max_position_embeddings=4096)))


def test_gpt_3_has_the_matrices_that_the_paper_adapts():
    """Hu et al. 2021, section 4.2 and appendix D.4: r = 4, 1 and 8 on W_q and W_v."""
    shape = shape_of("GPT-3 175B")
    hits = shape.matched(("q_proj", "v_proj"))
    trained = {r: sum(r * (m.d + m.k) for m in hits) for r in (1, 4, 8)}
    assert trained == {1: 4_718_592, 4: 18_874_368, 8: 37_748_736}
    fused = build(GPT2Config(vocab_size=50257, n_positions=2048, n_embd=12288, n_layer=96, n_head=96))
    assert shape.parameters == count_parameters(fused)[1]
    assert shape.parameters == pytest.approx(175e9, rel=0.005)


@pytest.mark.parametrize(
    ("config", "targets"),
    [
        ("multi-query GPTBigCode", ARTICLE_TARGETS),
        ("GPT-2", ("c_attn", "c_proj")),
        ("grouped-query Llama", "all-linear"),
    ],
)
def test_trainable_counts_are_peft_s(config, targets):
    fan = {"fan_in_fan_out": True} if config == "GPT-2" else {}
    theirs = peft.get_peft_model(build(CONFIGS[config]), peft.LoraConfig(r=4, target_modules=targets, **fan))
    trainable, total = theirs.get_nb_trainable_parameters()
    shape = shape_of(CONFIGS[config])
    ours = sum(4 * (m.d + m.k) for m in shape.matched((targets,) if isinstance(targets, str) else targets))
    assert (ours, shape.parameters + ours) == (trainable, total)


def test_a_folder_is_read_as_json(tmp_path):
    assert shape_of(str(POCKET)) == shape_of("pocket")
    CONFIGS["grouped-query Llama"].save_pretrained(tmp_path / "model")
    assert shape_of(str(tmp_path / "model")).linears == shape_of(CONFIGS["grouped-query Llama"]).linears


def test_what_a_config_file_leaves_out_has_transformers_default(tmp_path):
    few = {"model_type": "gpt2", "vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 32}
    (tmp_path / "config.json").write_text(json.dumps(few))
    read, full = shape_of(str(tmp_path)), shape_of(CONFIGS["GPT-2"])
    assert read.linears == full.linears and (read.tied, read.activation) == (full.tied, full.activation)
    assert (read.attention_dropout, read.residual_dropout, read.embedding_dropout) == (0.1, 0.1, 0.1)


def test_a_shape_is_returned_as_it_is():
    shape = shape_of("pocket")
    assert isinstance(shape, Shape) and shape_of(shape) is shape


def test_anything_else_is_refused():
    refused = {
        "sizes of 'gpt5' are not known.*bigcode/starcoderbase-1b.*config.json.*gpt_bigcode": "gpt5",
        "no sizes in a value of type int": 3,
        "no sizes in a value of type Linear": nn.Linear(2, 2),
        "family 'bert' is not supported.*gpt2, gpt_bigcode, llama": BertConfig(),
        "cross-attention": GPT2Config(**IDS, **GPT_SIZES, add_cross_attention=True),
        "width 32 and 5 heads": GPT2Config(**IDS, **(GPT_SIZES | {"n_head": 5})),
    }
    for words, model in refused.items():
        with pytest.raises(SettingError, match=words):
            shape_of(model)


def test_a_damaged_config_file_is_refused(tmp_path):
    refused = {
        "{": "cannot be read",
        "[]": "cannot be read",
        '{"model_type": "gpt2"}': "vocab_size of .* is None",
        '{"model_type": "llama", "vocab_size": "many"}': "vocab_size of .* is 'many'",
    }
    for text, words in refused.items():
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(SettingError, match=words):
            shape_of(str(tmp_path))
