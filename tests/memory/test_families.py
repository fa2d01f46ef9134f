"""Shapes from tables, configurations and folders against the models that transformers builds, on the meta device."""

import json
from pathlib import Path

import peft
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, BertConfig, GPT2Config, GPTBigCodeConfig, LlamaConfig

import lorabook
from lorabook.errors import SettingError
from lorabook.lora import LoRAConfig, apply_lora, count_parameters, matched
from lorabook.memory.families import shape_of
from lorabook.memory.shape import Shape
from lorabook.models.known import ESTIMATED, KNOWN
from tests.kit.tiny import GPT_SIZES, IDS, LLAMA_SIZES

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
    "multi-head Llama, tied, own head size": LlamaConfig(
        **IDS, **(LLAMA_SIZES | {"num_key_value_heads": 4}), head_dim=6, tie_word_embeddings=True
    ),
}
ARTICLE_TARGETS = ("c_attn", "c_proj", "c_fc", "wte", "wpe")


def build(config, dtype: torch.dtype = torch.float32) -> nn.Module:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=dtype)


def starcoder() -> nn.Module:
    sizes = {"n_embd": 2048, "n_layer": 24, "n_head": 16, "n_inner": 8192, "n_positions": 8192}
    return build(GPTBigCodeConfig(**(IDS | {"vocab_size": 49152}), **sizes))


def sizes_in(model: nn.Module) -> dict[str, tuple[int, int, bool]]:
    """(d, k, has a bias) of every linear layer and embedding. Conv1D keeps its weight as (k, d), an embedding too."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            found[name] = (*module.weight.shape, module.bias is not None)
        elif isinstance(module, nn.Embedding) or type(module).__name__ == "Conv1D":
            found[name] = (*reversed(module.weight.shape), getattr(module, "bias", None) is not None)
    return found


def buffer_bytes(model: nn.Module) -> int:
    return sum(b.nbytes for b in model.buffers())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_size_is_that_of_the_real_model(name, dtype):
    shape, model = shape_of(CONFIGS[name]), build(CONFIGS[name], dtype)
    assert {m.name: (m.d, m.k, m.bias) for m in shape.modules} == sizes_in(model)
    assert [m.name for m in shape.modules] == list(sizes_in(model))
    assert shape.parameters == count_parameters(model)[1]
    assert shape.buffer_bytes == buffer_bytes(model)
    inside = {m.name: m for m in shape.modules}
    assert all(inside[m.name].embedding == isinstance(model.get_submodule(m.name), nn.Embedding) for m in shape.modules)


@pytest.mark.parametrize("targets", [("all-linear",), ("c_proj",), ("wte", "wpe"), ("lm_head", "h.1.attn.c_attn")])
@pytest.mark.parametrize("name", [n for n in CONFIGS if "Llama" not in n])
def test_targets_match_what_apply_lora_matches(name, targets):
    shape, model = shape_of(CONFIGS[name]), build(CONFIGS[name])
    assert [m.name for m in shape.matched(targets)] == matched(model, targets)
    report = apply_lora(model, LoRAConfig(r=3, targets=targets))
    assert [(m.name, (m.d, m.k)) for m in shape.matched(targets)] == [(m.name, m.shape) for m in report.modules]


@pytest.mark.parametrize("targets", [("all-linear",), ("q_proj", "v_proj"), ("1.mlp.down_proj", "embed_tokens")])
def test_llama_s_targets_too(targets):
    config = CONFIGS["grouped-query Llama"]
    assert [m.name for m in shape_of(config).matched(targets)] == matched(build(config), targets)


@pytest.mark.parametrize("target", ["proj", "transformer", "", "c_attn.", "h.2.attn.c_attn"])
def test_a_target_without_a_match_is_refused_in_the_same_words(target):
    config = CONFIGS["multi-query GPTBigCode"]
    with pytest.raises(SettingError) as theirs:
        matched(build(config), (target,))
    with pytest.raises(SettingError) as ours:
        shape_of(config).matched((target,))
    assert ours.value.advice == theirs.value.advice and repr(target) in ours.value.problem


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("bigcode/starcoderbase-1b", 1_137_207_296),
        ("bigcode/tiny_starcoder_py", 164_144_128),
        ("pocket", 3_878_656),
        ("meta-llama/Llama-2-7b-hf", 6_738_415_616),
    ],
)
def test_known_models_have_their_published_size(name, parameters):
    assert shape_of(name).parameters == parameters
    if name in KNOWN:
        assert KNOWN[name].parameters == parameters


def test_starcoderbase_is_the_real_one_and_hides_a_buffer_of_64_mib():
    shape, model = shape_of("bigcode/starcoderbase-1b"), starcoder()
    assert {m.name: (m.d, m.k, m.bias) for m in shape.modules} == sizes_in(model)
    assert shape.parameters == count_parameters(model)[1]
    assert shape.buffer_bytes == buffer_bytes(model) == 64 * 2**20
    assert apply_lora(model, LoRAConfig(16, 8, targets=ARTICLE_TARGETS)).total == 1_149_298_688
    assert sum(16 * (m.d + m.k) for m in shape.matched(ARTICLE_TARGETS)) == 12_091_392


def test_llama_2_is_what_transformers_builds_by_default():
    shape, model = shape_of("meta-llama/Llama-2-7b-hf"), build(LlamaConfig(max_position_embeddings=4096))
    assert {m.name: (m.d, m.k, m.bias) for m in shape.modules} == sizes_in(model)
    assert shape.parameters == count_parameters(model)[1] and shape.buffer_bytes == buffer_bytes(model)


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


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gpt5", "sizes of 'gpt5' are not known.*bigcode/starcoderbase-1b.*config.json.*gpt_bigcode"),
        (3, "no sizes in a value of type int"),
        (nn.Linear(2, 2), "no sizes in a value of type Linear"),
        (BertConfig(), "family 'bert' is not supported.*gpt2, gpt_bigcode, llama"),
        (GPT2Config(**IDS, **GPT_SIZES, add_cross_attention=True), "cross-attention"),
        (GPT2Config(**IDS, **(GPT_SIZES | {"n_head": 5})), "width 32 and 5 heads"),
    ],
    ids=["name", "number", "module", "family", "decoder of a pair", "heads"],
)
def test_anything_else_is_refused(model, words):
    with pytest.raises(SettingError, match=words):
        shape_of(model)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"model_type": "gpt2"}', "vocab_size of .* is None"),
        ('{"model_type": "llama", "vocab_size": "many"}', "vocab_size of .* is 'many'"),
    ],
)
def test_a_damaged_config_file_is_refused(text, words, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(SettingError, match=words):
        shape_of(str(tmp_path))


def test_every_known_name_carries_its_shape():
    assert all(shape_of(name).name == name and shape_of(name).parameters > 0 for name in [*KNOWN, *ESTIMATED])
