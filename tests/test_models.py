"""Loading models, the precision policy and attention on old GPUs; the hub itself is in test_hub.py."""

import json
import math
import sys
from copy import deepcopy
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTBigCodeConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

from lorabook import models as lorabook_models
from lorabook.attention import EXPANDED, attention_for, expanded_attention, refuse_padding
from lorabook.errors import ModelError, NoTokenError
from lorabook.hub import find_token
from lorabook.models import KNOWN, load_model, precision_for, preflight

T4, AMPERE = (7, 5), (8, 0)
IDS = {"vocab_size": 64, "bos_token_id": 0, "eos_token_id": 0}
GPT_SIZES = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "attn_pdrop": 0.0}
LLAMA_SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS = {
    "multi-query GPTBigCode": GPTBigCodeConfig(**IDS, **GPT_SIZES),
    "multi-head GPTBigCode": GPTBigCodeConfig(**IDS, **GPT_SIZES, multi_query=False),
    "GPT-2": GPT2Config(**IDS, **GPT_SIZES),
    "grouped-query Llama": LlamaConfig(**IDS, **LLAMA_SIZES, num_key_value_heads=2, max_position_embeddings=64),
}


def build(config: PreTrainedConfig, attention: str) -> torch.nn.Module:
    torch.manual_seed(0)
    # a copy, because a model keeps the attention's name in its configuration
    model = AutoModelForCausalLM.from_config(deepcopy(config), attn_implementation=attention).eval()
    assert model.config._attn_implementation == attention
    with torch.no_grad():
        for weights in model.parameters():  # the default initialisation makes near-uniform attention: hide nothing
            weights.add_(torch.randn_like(weights) * 0.2)
    return model


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def pair(request: pytest.FixtureRequest) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The same model twice: with transformers' sdpa, and with the attention for a T4."""
    return build(request.param, "sdpa"), build(request.param, attention_for("cuda", T4))


def ragged_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Ids of lengths 12, 7 and 1, padded on the right, and the mask of the real positions."""
    ids = torch.randint(1, 64, (3, 12), generator=torch.Generator().manual_seed(1))
    real = torch.arange(12) < torch.tensor([[12], [7], [1]])
    return ids.masked_fill(~real, 0), real


def save_model(folder, config: PreTrainedConfig = CONFIGS["multi-query GPTBigCode"], **options):
    folder.mkdir(parents=True, exist_ok=True)
    model = build(config, "sdpa")
    model.save_pretrained(folder, **options)
    words = Tokenizer(models.WordLevel({"<|endoftext|>": 0, "import": 1, "os": 2}, unk_token="<|endoftext|>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|endoftext|>").save_pretrained(folder)
    return model


# Precision


@pytest.mark.parametrize(
    ("device", "capability", "weights", "autocast", "scaler"),
    [
        ("cuda", AMPERE, torch.bfloat16, torch.bfloat16, False),
        ("cuda", (9, 0), torch.bfloat16, torch.bfloat16, False),
        ("cuda:1", (12, 0), torch.bfloat16, torch.bfloat16, False),
        ("cuda", T4, torch.float16, torch.float16, True),
        ("cuda", (6, 0), torch.float16, torch.float16, True),
        ("cpu", None, torch.float32, None, False),
        ("mps", None, torch.float32, None, False),
    ],
)
def test_precision_follows_the_device(device, capability, weights, autocast, scaler):
    precision = precision_for(device, capability)
    assert (precision.weights, precision.autocast, precision.scaler) == (weights, autocast, scaler)
    assert precision.reason.endswith(".")


@pytest.mark.parametrize(("capability", "half"), [(T4, torch.float16), (AMPERE, torch.bfloat16)])
def test_precision_and_attention_ask_the_card_and_never_its_bf16_emulation(monkeypatch, capability, half):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *args, **kwargs: pytest.fail("emulation counts there"))
    assert precision_for("cuda").weights == half
    assert attention_for("cuda") == (EXPANDED if capability == T4 else "sdpa")


def test_attention_is_sdpa_everywhere_else():
    assert {attention_for("cpu"), attention_for("mps"), attention_for("cuda", AMPERE)} == {"sdpa"}


# Attention on old GPUs


def by_hand(query, key, value, scaling):
    """softmax(q k^T * scaling) v, one query position at a time over the keys it may see."""
    output = torch.empty_like(query)
    heads_per_key, past = query.shape[1] // key.shape[1], key.shape[2] - query.shape[2]
    for batch, head, place in torch.cartesian_prod(*(torch.arange(n) for n in query.shape[:3])).tolist():
        seen = past + place + 1
        scores = key[batch, head // heads_per_key, :seen] @ query[batch, head, place] * scaling
        odds = (scores - scores.max()).exp()
        output[batch, head, place] = (odds / odds.sum()) @ value[batch, head // heads_per_key, :seen]
    return output.transpose(1, 2)


@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize(("queries", "keys"), [(5, 5), (1, 6), (3, 7)])
def test_attention_equals_attention_by_hand(key_heads, queries, keys):
    random = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, queries, 8, generator=random)
    key, value = (torch.randn(2, key_heads, keys, 8, generator=random) for _ in range(2))
    output, weights = expanded_attention(SimpleNamespace(is_causal=True), query, key, value, None, scaling=0.3)
    assert weights is None
    torch.testing.assert_close(output, by_hand(query, key, value, 0.3))


@pytest.fixture
def sdpa_calls(monkeypatch):
    """What reaches PyTorch's scaled_dot_product_attention: (query, key, value, keyword arguments) of every call."""
    calls = []
    sdpa = torch.nn.functional.scaled_dot_product_attention

    def spy(query, key, value, **options):
        calls.append((query, key, value, options))
        return sdpa(query, key, value, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    return calls


def test_gpt_bigcode_scales_its_scores_by_one_over_the_root_of_the_head_size(sdpa_calls):
    model = build(CONFIGS["multi-query GPTBigCode"], attention_for("cuda", T4))
    contexts = []
    model.transformer.h[0].attn.c_proj.register_forward_pre_hook(lambda _, args: contexts.append(args[0]))
    with torch.no_grad():
        model(ragged_batch()[0])
    query, key, value, _ = sdpa_calls[0]
    torch.testing.assert_close(contexts[0], by_hand(query, key, value, 1 / math.sqrt(8)).flatten(2))


def test_logits_and_gradients_equal_sdpa_on_a_ragged_batch(pair):
    ids, real = ragged_batch()
    gradients = []
    for model in pair:
        logits = model(ids).logits[real]
        gradients.append(torch.autograd.grad(logits.square().mean(), list(model.parameters())))
        gradients[-1] = (logits.detach(), *gradients[-1])
    for ours, theirs in zip(*gradients):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    # padding on the right needs no mask: each row alone gives the same
    with torch.no_grad():
        alone = torch.cat([pair[1](row[keep][None]).logits[0] for row, keep in zip(ids, real)])
    torch.testing.assert_close(alone, gradients[1][0], rtol=1e-4, atol=1e-5)


def test_greedy_generation_with_a_cache_equals_sdpa(pair):
    ids = ragged_batch()[0][:1, :5]
    mask = torch.ones_like(ids)
    options = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    theirs, ours = (model.generate(ids, attention_mask=mask, **options) for model in pair)
    assert ours.tolist() == theirs.tolist()
    assert len(set(ours[0].tolist())) > 3  # a constant would hide a difference


def test_a_prompt_continued_in_pieces_equals_the_whole(pair):
    model, ids = pair[1], ragged_batch()[0][:1]
    with torch.no_grad():
        whole = model(ids, use_cache=False).logits
        first = model(ids[:, :7], use_cache=True)
        # the cache goes by two names across transformers versions: let the output say which
        name = "cache" if "cache" in first else "past_key_values"
        second = model(ids[:, 7:], use_cache=True, **{name: first[name]})
    torch.testing.assert_close(torch.cat([first.logits, second.logits], 1), whole, rtol=1e-4, atol=1e-5)


def test_what_reaches_sdpa_has_equal_heads_a_causal_flag_and_no_mask(pair, sdpa_calls):
    pair[1](ragged_batch()[0])
    assert len(sdpa_calls) == 2  # layers
    for query, key, value, options in sdpa_calls:
        assert query.shape == key.shape == value.shape == (3, 4, 12, 8)
        assert options["is_causal"] is True
        assert options["attn_mask"] is None
        assert "enable_gqa" not in options


def test_a_new_token_sees_the_whole_cache_without_a_mask(pair, sdpa_calls):
    ids = ragged_batch()[0][:1, :5]
    pair[1].generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=2, min_new_tokens=2, pad_token_id=0)
    query, key, _, options = sdpa_calls[-1]
    assert (query.shape[2], key.shape[2]) == (1, 6)
    assert (options["is_causal"], options["attn_mask"]) == (False, None)


def test_sdpa_itself_would_ask_for_shared_heads(sdpa_calls):
    """The trap this attention exists for; should it go away one day, so may `EXPANDED`."""
    build(CONFIGS["multi-query GPTBigCode"], "sdpa")(ragged_batch()[0])
    assert [options.get("enable_gqa") for *_, options in sdpa_calls] == [True, True]


def test_it_runs_on_the_meta_device(pair):
    model = pair[1].to("meta")
    logits = model(torch.zeros(2, 8, dtype=torch.long, device="meta"), use_cache=False).logits
    assert logits.shape == (2, 8, 64)
    logits.sum().backward()


def test_left_padding_is_refused_and_right_padding_passes():
    model = build(CONFIGS["grouped-query Llama"], attention_for("cuda", T4))
    refuse_padding(model)
    ids, real = ragged_batch()
    model(ids, attention_mask=real.long())
    with pytest.raises(ModelError, match="padded on the left"):
        model(ids.flip(1), attention_mask=real.flip(1).long())
    with pytest.raises(ModelError, match="padded on the left"):
        model.generate(ids.flip(1), attention_mask=real.flip(1).long(), max_new_tokens=2, pad_token_id=0)
    model.set_attn_implementation("sdpa")
    model(ids.flip(1), attention_mask=real.flip(1).long())


def test_a_cache_of_fixed_size_is_refused():
    model = build(CONFIGS["grouped-query Llama"], attention_for("cuda", T4))
    refuse_padding(model)
    ids = ragged_batch()[0][:1]
    with pytest.raises(ModelError, match="fixed size"):
        model.generate(ids, cache_implementation="static", max_new_tokens=2, pad_token_id=0)


def test_a_window_shorter_than_the_sequence_is_refused():
    config = MistralConfig(**IDS, **LLAMA_SIZES, num_key_value_heads=2, sliding_window=8)
    model, ids = build(config, attention_for("cuda", T4)), ragged_batch()[0]
    torch.testing.assert_close(model(ids[:, :8]).logits, build(config, "sdpa")(ids[:, :8]).logits)
    with pytest.raises(ModelError, match="8 tokens at a time, but the sequence has 12"):
        model(ids)


# Which models, and loading them


def test_the_known_models_have_the_parameters_their_architecture_gives():
    star = {"vocab_size": 49_152, "n_positions": 8_192, "bos_token_id": 0, "eos_token_id": 0}
    architectures = {
        "pocket": GPTBigCodeConfig(
            **(star | {"vocab_size": 4_096, "n_positions": 512}), n_embd=256, n_layer=4, n_head=8
        ),
        "bigcode/tiny_starcoder_py": GPTBigCodeConfig(**star, n_embd=768, n_layer=20, n_head=12),
        "bigcode/starcoderbase-1b": GPTBigCodeConfig(**star, n_embd=2_048, n_layer=24, n_head=16),
    }
    assert architectures.keys() == KNOWN.keys()
    for name, config in architectures.items():
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        assert KNOWN[name].parameters == sum(weights.numel() for weights in model.parameters())
        assert KNOWN[name].name == name
        assert KNOWN[name].download_bytes == 0 or KNOWN[name].download_bytes >= 4 * KNOWN[name].parameters


@pytest.mark.parametrize("name", ["multi-query GPTBigCode", "GPT-2", "grouped-query Llama"])
def test_a_local_folder_loads_in_fp32_quietly_and_leaves_the_random_state_alone(tmp_path, capfd, name):
    saved = save_model(tmp_path, CONFIGS[name]).half()
    saved.save_pretrained(tmp_path)
    capfd.readouterr()
    before = torch.get_rng_state()
    loaded = load_model(str(tmp_path), device="cpu")
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")
    assert (loaded.name, loaded.revision, loaded.licence) == (str(tmp_path), "local", "unknown")
    assert {weights.dtype for weights in loaded.model.parameters()} == {torch.float32}
    assert loaded.model.config._attn_implementation == "sdpa"
    assert loaded.model.config.use_cache is saved.config.use_cache
    assert not loaded.model.training
    assert not any(hasattr(module, "_hf_hook") for module in loaded.model.modules())  # hooks would slow every call
    assert loaded.model.config._name_or_path == str(tmp_path)
    assert loaded.tokenizer.pad_token is None
    assert loaded.tokenizer("import os")["input_ids"] == [1, 2]
    stored = load_file(tmp_path / "model.safetensors")
    ours = loaded.model.state_dict()
    assert all(torch.equal(ours[key], tensor.float()) for key, tensor in stored.items())


def test_pocket_is_read_from_the_package_under_its_own_name(tmp_path, monkeypatch):
    save_model(tmp_path)
    monkeypatch.setattr(lorabook_models, "POCKET_FOLDER", tmp_path)
    loaded = load_model("pocket", device="cpu")
    assert (loaded.name, loaded.revision, loaded.licence) == ("pocket", "bundled", KNOWN["pocket"].licence)
    assert loaded.model.config._name_or_path == "pocket"


def test_a_model_in_numbered_parts_loads(tmp_path):
    saved = save_model(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    loaded = load_model(str(tmp_path), device="cpu").model
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), loaded.parameters()))


def test_code_that_comes_with_a_model_is_not_run(tmp_path):
    save_model(tmp_path)
    trap = tmp_path / "ran"
    (tmp_path / "modeling.py").write_text(f"open({str(trap)!r}, 'w')\nclass Model: pass\n")
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling.Model", "AutoConfig": "modeling.Model"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    load_model(str(tmp_path), device="cpu")
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "unheard-of"}))
    with pytest.raises(ModelError, match="transformers cannot load"):
        load_model(str(tmp_path), device="cpu")
    assert not trap.exists()


def test_pickled_weights_are_refused(tmp_path):
    save_model(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only as pickled \.bin files.*tiny_starcoder_py"):
        load_model(str(tmp_path), device="cpu")


def test_damaged_weights_and_folders_without_a_model_are_told_apart(tmp_path):
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        preflight(str(tmp_path))
    with pytest.raises(ModelError, match="There is no folder"):
        preflight(str(tmp_path / "nowhere"))
    save_model(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"damaged.*Delete it"):
        load_model(str(tmp_path), device="cpu")


def test_too_little_memory_names_both_figures_and_a_smaller_model(tmp_path, monkeypatch):
    model = save_model(tmp_path)
    needed = sum(tensor.numel() for tensor in load_file(tmp_path / "model.safetensors").values()) * 4
    monkeypatch.setattr(lorabook_models, "_available_bytes", lambda device: needed)
    load_model(str(tmp_path), device="cpu")
    monkeypatch.setattr(lorabook_models, "_available_bytes", lambda device: needed - 1)
    with pytest.raises(ModelError, match="such as pocket"):
        load_model(str(tmp_path), device="cpu")
    assert needed == 4 * sum(weights.numel() for weights in model.parameters())

    monkeypatch.setattr(lorabook_models, "_available_bytes", lambda device: 2 * 2**30)
    one_billion = KNOWN["bigcode/starcoderbase-1b"].parameters
    with pytest.raises(ModelError, match=r"4\.24 GiB in float32.*cpu has 2\.00 GiB.*such as bigcode/tiny_starcoder_py"):
        lorabook_models.check_memory("the 1B", one_billion, precision_for("cpu"), torch.device("cpu"))
    with pytest.raises(ModelError, match=r"2\.12 GiB in float16"):
        lorabook_models.check_memory("the 1B", one_billion, precision_for("cuda", T4), torch.device("cuda"))


def test_available_memory_is_the_kernels_own_figure():
    psutil = pytest.importorskip("psutil")
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc/meminfo")
    available = lorabook_models._available_bytes(torch.device("cpu"))
    assert available == pytest.approx(psutil.virtual_memory().available, rel=0.2)


# The token


@pytest.fixture
def colab(monkeypatch, tmp_path):
    """A `google.colab` whose `userdata.get` does what the test says; no other token anywhere."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    package, userdata = ModuleType("google.colab"), ModuleType("google.colab.userdata")
    package.userdata = userdata
    for name, module in (("google", ModuleType("google")), ("google.colab", package)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "google.colab.userdata", userdata)
    return userdata


def test_tokens_are_looked_for_in_order(colab, monkeypatch):
    colab.get = lambda key: {"HF_TOKEN": "hf_colab"}[key]
    assert find_token() == "hf_colab"
    monkeypatch.setenv("HF_TOKEN", "hf_environment")
    assert find_token() == "hf_environment"
    assert find_token(" hf_argument\n") == "hf_argument"


@pytest.mark.parametrize("failure", ["SecretNotFoundError", "NotebookAccessError", "TimeoutException"])
def test_a_colab_vault_that_fails_means_no_token(colab, failure):
    error = type(failure, (Exception,), {})

    def get(key: str) -> str:
        raise error("HF_TOKEN")

    colab.get = get
    assert find_token() is None


def test_a_colab_without_its_vault_means_no_token(colab):
    assert find_token() is None  # `get` is missing, as in a process that a notebook started with !


@pytest.mark.parametrize("token", ["hf_one hf_two", "hf_ab\ncd", "hf_“quoted”"])
def test_a_token_no_header_can_carry_is_refused_without_being_shown(token):
    with pytest.raises(NoTokenError) as refusal:
        find_token(token)
    assert "hf_" not in str(refusal.value)
