"""GGUF files against the package gguf of llama.cpp, which writes them and multiplies their integers out."""

from pathlib import Path

import pytest
import torch

from lorabook.errors import ModelError
from lorabook.models import gguf as lorabook_gguf
from lorabook.models import load_model

gguf = pytest.importorskip("gguf", reason="needs the package gguf: pip install gguf")

from tests.kit import gguf_files  # noqa: E402

TYPES = [gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.Q8_0]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.name)
def test_weights_and_logits_are_those_of_the_file(kind, tmp_path, capfd):
    saved = gguf_files.llama(gguf_files.bpe().get_vocab_size())
    worth = gguf_files.write(tmp_path / "tiny.gguf", saved, kind)
    before = torch.get_rng_state()
    loaded = load_model(str(tmp_path / "tiny.gguf"), device="cpu")
    assert torch.equal(torch.get_rng_state(), before) and capfd.readouterr() == ("", "")
    ours = loaded.model.state_dict()
    assert worth.keys() == ours.keys() - {"lm_head.weight"}
    assert all(torch.equal(ours[name], torch.from_numpy(value)) for name, value in worth.items())
    saved.load_state_dict({name: torch.from_numpy(value) for name, value in worth.items()}, strict=False)
    ids = torch.arange(1, 40)[None]
    with torch.no_grad():
        assert (loaded.model(ids).logits - saved(ids).logits).abs().max() < 1e-5
    assert (loaded.name, loaded.revision) == (str(tmp_path / "tiny.gguf"), "local")
    assert loaded.model.config.tie_word_embeddings and not hasattr(loaded.model.config, "quantization_config")


def test_text_is_split_as_by_the_models_own_tokenizer(tmp_path):
    own = gguf_files.bpe()
    gguf_files.write(tmp_path / "tiny.gguf", gguf_files.llama(own.get_vocab_size()))
    tokenizer = load_model(str(tmp_path / "tiny.gguf"), device="cpu").tokenizer
    for text in [*gguf_files.TEXT, "    5 x\n    7, ² ab12\n\n\t99", f"a {gguf_files.END} b"]:
        assert tokenizer(text, add_special_tokens=False).input_ids == own.encode(text).ids
    assert tokenizer.eos_token == gguf_files.END


def test_a_file_is_converted_once_and_another_one_anew(tmp_path, home, monkeypatch):
    model = gguf_files.llama(gguf_files.bpe().get_vocab_size())
    file = tmp_path / "tiny.gguf"
    gguf_files.write(file, model)
    first = load_model(str(file), device="cpu").model.state_dict()
    with monkeypatch.context() as patch:
        patch.setattr(lorabook_gguf, "_write", lambda *_: pytest.fail("converted a second time"))
        again = load_model(str(file), device="cpu").model.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    with torch.no_grad():
        model.model.norm.weight.mul_(2)
    gguf_files.write(file, model)
    assert torch.equal(load_model(str(file), device="cpu").model.model.norm.weight, model.model.norm.weight)
    assert len(list((home / "lorabook" / "gguf").iterdir())) == 2  # and nothing half-made beside them


def damaged(file: Path, name: str) -> None:
    whole = file.read_bytes()
    if name == "empty":
        file.write_bytes(b"")
    elif name == "not GGUF":
        file.write_bytes(b"PK\x03\x04" + whole[4:])
    elif name == "cut in the header":
        file.write_bytes(whole[:200])
    elif name == "cut in the weights":
        file.write_bytes(whole[: len(whole) // 2])
    elif name == "counts without end":
        file.write_bytes(whole[:8] + b"\xff" * 16 + whole[24:])


@pytest.mark.parametrize("name", ["empty", "not GGUF", "cut in the header", "cut in the weights", "counts without end"])
def test_a_damaged_file_is_refused_in_two_sentences(name, tmp_path, home):
    file = tmp_path / "tiny.gguf"
    gguf_files.write(file, gguf_files.llama(gguf_files.bpe().get_vocab_size()))
    damaged(file, name)
    with pytest.raises(ModelError, match=r"tiny.gguf cannot be read as a GGUF file: .*Get the file again"):
        load_model(str(file), device="cpu")
    assert not list(home.glob("lorabook/gguf/*"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "nobodys-own"}, "nobodys-own"),
        ({"blocks": 10**6}, "1,000,000 layers"),
        ({"left_out": "blk.1.ffn_up"}, "lacks model.layers.1.mlp.up_proj"),
    ],
)
def test_a_foreign_file_is_refused(changes, words, tmp_path):
    gguf_files.write(tmp_path / "odd.gguf", gguf_files.llama(gguf_files.bpe().get_vocab_size()), **changes)
    with pytest.raises(ModelError, match=words):
        load_model(str(tmp_path / "odd.gguf"), device="cpu")


def test_a_file_that_is_not_there_and_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match=r"There is no file .*nowhere.gguf"):
        load_model(str(tmp_path / "nowhere.gguf"), device="cpu")
    file = tmp_path / "tiny.gguf"
    gguf_files.write(file, gguf_files.llama(gguf_files.bpe().get_vocab_size()))
    (tmp_path / "home").write_text("a file where a folder should be")
    with pytest.raises(ModelError, match=r"cannot be written .* set HF_HOME to another place"):
        load_model(str(file), device="cpu")
