"""Adapter files: exchanged with PEFT both ways without the hub, and read back; refusals are in the file beside this."""

import json
import os
import socket
import warnings
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import AutoTokenizer
from transformers.pytorch_utils import Conv1D

from lorabook.errors import AdapterError, SaveError, SettingError
from lorabook.lora import LoRAConfig, adapters_of, apply_lora, lora_layers
from lorabook.merging import merge
from lorabook.peft_format import adapter_file
from lorabook.peft_format.adapter_file import CONFIG_NAME, WEIGHTS_NAME, load, save
from tests.kit.adapters import adapted
from tests.kit.families import MODELS, gpt_bigcode, llama, logits
from tests.kit.oracles import copy_factors, with_peft
from tests.kit.text import tokenizer
from tests.kit.untouched import assert_untouched, snapshot

STARCODER = ("c_attn", "c_proj", "c_fc", "wte", "wpe")
CASES = {
    "GPTBigCode": ("GPTBigCode", LoRAConfig(r=4, alpha=8, dropout=0.1, targets=STARCODER)),
    "GPTBigCode rslora": ("GPTBigCode", LoRAConfig(r=4, alpha=8, targets=("c_fc",), rslora=True)),
    "GPT-2": ("GPT-2", LoRAConfig(r=4, alpha=8, targets=STARCODER)),
    "GPT-2 with its head": ("GPT-2", LoRAConfig(r=4, alpha=8, targets=("c_attn", "lm_head"))),
    "Llama": ("Llama", LoRAConfig(r=4, alpha=5.5, targets=("q_proj", "self_attn.o_proj", "embed_tokens"))),
    "Llama all-linear": ("Llama", LoRAConfig(r=4, alpha=8, targets=("all-linear",))),
    "Llama one module": ("Llama", LoRAConfig(r=4, alpha=8, targets=("model.layers.1.mlp.up_proj",))),
}
each_case = pytest.mark.parametrize(("kind", "config"), CASES.values(), ids=CASES.keys())


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """As with HF_HUB_OFFLINE=1; and whoever still tries to reach a host is found out, even if he hides the error."""
    attempts = []

    def refuse(*args, **kwargs):
        attempts.append(args)
        raise OSError("no network in this test")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield
    assert attempts == []


def heard(action: Callable[[], object], caplog: pytest.LogCaptureFixture) -> tuple[object, set[str]]:
    """The action's result, and all that it said through warnings and logs."""
    caplog.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = action()
    return result, {str(w.message) for w in caught} | {r.getMessage() for r in caplog.records if r.levelname != "DEBUG"}


# Exchange with PEFT


@each_case
def test_peft_loads_our_file_without_a_word_more_than_for_its_own(kind, config, tmp_path, caplog):
    model = adapted(MODELS[kind](), config)
    peft_model = with_peft(MODELS[kind](), config)
    copy_factors(model, peft_model)
    save(model, tmp_path / "ours")
    peft_model.save_pretrained(tmp_path / "theirs")
    ours, said_of_ours = heard(lambda: PeftModel.from_pretrained(MODELS[kind](), tmp_path / "ours"), caplog)
    _, said_of_theirs = heard(lambda: PeftModel.from_pretrained(MODELS[kind](), tmp_path / "theirs"), caplog)
    assert said_of_ours <= said_of_theirs
    assert (logits(model) - logits(MODELS[kind]())).abs().max() > 0.01, "the adapter does nothing"
    torch.testing.assert_close(logits(ours), logits(model), rtol=0, atol=1e-5)


@each_case
def test_we_load_the_file_of_peft(kind, config, tmp_path):
    peft_model = with_peft(MODELS[kind](), config).eval()
    copy_factors(adapted(MODELS[kind](), config), peft_model)
    peft_model.save_pretrained(tmp_path)
    model = MODELS[kind]()
    report = load(model, tmp_path)
    torch.testing.assert_close(logits(model), logits(peft_model), rtol=0, atol=1e-5)
    assert report.trainable == peft_model.get_nb_trainable_parameters()[0]
    read = adapters_of(model).active.config
    assert (read.alpha, read.dropout) == (config.alpha, config.dropout)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.seconds
def test_every_module_alone_and_all_of_them_travel_both_ways(kind, tmp_path):
    plain = MODELS[kind]()
    modules = plain.named_modules()
    alone = sorted({n.rsplit(".", 1)[-1] for n, m in modules if isinstance(m, (nn.Linear, nn.Embedding, Conv1D))})
    assert len(alone) == (9 if kind == "Llama" else 6)
    for i, targets in enumerate([*((name,) for name in alone), tuple(alone), ("all-linear",)]):
        config = LoRAConfig(r=2, alpha=3, targets=targets)
        model, peft_model = adapted(MODELS[kind](), config), with_peft(plain, config).eval()
        copy_factors(model, peft_model)
        expected = logits(model)
        assert (expected - logits(plain)).abs().max() > 1e-3, "the adapter does nothing"
        save(model, tmp_path / f"ours {i}")
        peft_model.save_pretrained(tmp_path / f"theirs {i}")
        theirs = PeftModel.from_pretrained(MODELS[kind](), tmp_path / f"ours {i}")
        ours = MODELS[kind]()
        load(ours, tmp_path / f"theirs {i}")
        for read in (theirs, ours):
            torch.testing.assert_close(logits(read), expected, rtol=0, atol=1e-5, msg=f"{targets}, {type(read)}")


def test_the_base_weight_that_peft_adds_must_be_the_models_own(tmp_path):
    peft_model = with_peft(llama(), LoRAConfig(r=4, targets=("embed_tokens", "q_proj")))
    peft_model.save_pretrained(tmp_path)
    assert "base_model.model.model.embed_tokens.base_layer.weight" in load_file(tmp_path / WEIGHTS_NAME)
    load(llama(), tmp_path)
    load(llama().to(torch.bfloat16), tmp_path)
    other = llama()
    with torch.no_grad():
        other.model.embed_tokens.weight[3, 5] += 0.01
    before = snapshot(other)
    with pytest.raises(AdapterError, match="another base weight"):
        load(other, tmp_path)
    assert_untouched(other, before)


# Our own round trip


@each_case
def test_loading_gives_the_same_model_and_settings(kind, config, tmp_path):
    model = adapted(MODELS[kind](), config)
    saved = logits(model)
    assert save(model, tmp_path) == tmp_path
    again = MODELS[kind]()
    report = load(again, tmp_path)
    assert torch.equal(logits(again), saved)
    assert [m.name for m in report.modules] == [name for name, _ in lora_layers(model)]
    for setting in ("r", "alpha", "dropout", "rslora", "scaling"):
        assert getattr(adapters_of(again).active.config, setting) == getattr(config, setting), setting
    assert {n for n, p in again.named_parameters() if p.requires_grad} == {
        f"{m.name}.{factor}" for m in report.modules for factor in "AB"
    }
    save(again, tmp_path / "again")
    assert (tmp_path / "again" / CONFIG_NAME).read_text() == (tmp_path / CONFIG_NAME).read_text()
    first, second = load_file(tmp_path / WEIGHTS_NAME), load_file(tmp_path / "again" / WEIGHTS_NAME)
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_the_file_holds_a_and_b_and_nothing_else(tmp_path):
    model = gpt_bigcode()
    report = apply_lora(model, LoRAConfig(r=2, targets=STARCODER))
    assert save(model, str(tmp_path), base_name="somebody/tiny", revision="abc") == tmp_path
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG_NAME, WEIGHTS_NAME]
    tensors = load_file(tmp_path / WEIGHTS_NAME)
    assert sum(t.numel() for t in tensors.values()) == report.trainable
    assert all(".lora_" in key and t.dtype == torch.float32 for key, t in tensors.items())
    assert (tmp_path / WEIGHTS_NAME).stat().st_size < 4 * report.trainable + 16 * 1024
    stored = json.loads((tmp_path / CONFIG_NAME).read_text())
    assert (stored["base_model_name_or_path"], stored["revision"]) == ("somebody/tiny", "abc")
    assert stored["target_modules"] == sorted(STARCODER)


def test_a_merged_or_plain_model_is_not_saved(tmp_path):
    model = gpt_bigcode()
    with pytest.raises(SettingError, match="no LoRA layers"):
        save(model, tmp_path / "file")
    merge(adapted(model, LoRAConfig(r=2, targets=("c_fc",))))
    before = snapshot(model)
    with pytest.raises(SettingError, match="merged"):
        save(model, tmp_path / "file")
    assert_untouched(model, before)
    assert not (tmp_path / "file").exists()


def test_weights_are_on_the_disk_before_the_config_says_that_there_is_an_adapter(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append("sync") or fsync(descriptor))
    monkeypatch.setattr(os, "replace", lambda old, new: done.append(Path(new).name) or replace(old, new))
    save(adapted(MODELS["GPT-2"](), CASES["GPT-2"][1]), tmp_path)
    assert done == ["sync", "adapter_model.safetensors", "sync", "adapter_config.json"]


@pytest.mark.parametrize("error", [SafetensorError("No space left on device"), PermissionError(13, "denied")])
def test_a_folder_that_cannot_be_written_is_said_so_and_keeps_what_it_had(error, tmp_path, monkeypatch):
    def fail(*arguments):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(adapter_file, "write_tensors", fail)
        with pytest.raises(SaveError, match=r"could not be written .* Free some space"):
            save(adapted(MODELS["GPT-2"](), CASES["GPT-2"][1]), tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []  # no config without weights
    save(adapted(MODELS["GPT-2"](), CASES["GPT-2"][1]), tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr(adapter_file, "write_tensors", fail)
        with pytest.raises(SaveError):
            save(adapted(MODELS["GPT-2"](), CASES["GPT-2"][1]), tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def test_a_chat_template_travels_beside_the_adapter_and_transformers_finds_it_there(tmp_path):
    template = "{% for m in messages %}{{ m.content }}ä\n{% endfor %}"
    save(adapted(gpt_bigcode(), LoRAConfig(r=2)), tmp_path, chat_template=template)
    assert adapter_file.read_chat_template(tmp_path) == template
    tokenizer().save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == template
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(AdapterError, match=r"chat_template\.jinja cannot be read"):
        adapter_file.read_chat_template(tmp_path)
    assert adapter_file.read_chat_template(save(adapted(gpt_bigcode(), LoRAConfig(r=2)), tmp_path / "none")) is None
