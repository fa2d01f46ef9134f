"""Folders with a model that a stranger made: no pickle, no file outside the folder, no weight drawn at random."""

import json
import os
import pickle
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from lorabook.errors import ModelError
from lorabook.models import load_model
from lorabook.models.folder import INDEX, WHOLE, count_weights
from tests.kit.families import save_model

PART = "model-00001-of-00001.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "model")
    return tmp_path / "model"


def refused(folder: Path, words: str) -> None:
    with pytest.raises(ModelError, match=words) as refusal:
        load_model(str(folder), device="cpu")
    assert refusal.value.problem and refusal.value.advice


def write_index(folder: Path, *parts: object) -> None:
    weights = load_file(folder / WHOLE)
    (folder / WHOLE).rename(folder / PART)
    names = [parts[i % len(parts)] for i in range(len(weights))]
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": dict(zip(weights, names))}))


def test_an_index_of_the_folders_own_parts_is_followed(folder):
    expected = load_file(folder / WHOLE)
    write_index(folder, PART)
    ours = load_model(str(folder), device="cpu").model.state_dict()
    assert all((ours[name] == value).all() for name, value in expected.items())


def test_an_index_that_names_a_pickle_opens_none(folder, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    (folder / "evil.bin").write_bytes(pickle.dumps(Trap()))
    (folder / "model-2.bin").write_bytes(pickle.dumps(Trap()))
    write_index(folder, PART, "evil.bin", "model-2.bin")
    refused(folder, r"index\.json.*damaged.*names '(evil|model-2)\.bin'")
    assert not (tmp_path / "ran").exists()
    pickle.loads((folder / "evil.bin").read_bytes())
    assert (tmp_path / "ran").exists()  # the trap works


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (["../model-1.safetensors"], "no part of the model"),
        (["/etc/model-1.safetensors"], "no part of the model"),
        (["model-1\\..\\..\\x.safetensors"], "no part of the model"),
        (["model-00002-of-00002.safetensors"], "not there"),
        ([1], "no part of the model"),
        ([["a"]], "cannot be read: TypeError"),
    ],
)
def test_an_index_that_leads_elsewhere_is_refused(parts, words, folder):
    save_file(load_file(folder / WHOLE), folder.parent / "model-1.safetensors")
    write_index(folder, *parts)
    refused(folder, words)


def test_a_part_that_is_missing_is_not_blamed_on_the_index(folder):
    """Deleting the index, which was the advice once, would have lost what tells which parts there should be."""
    write_index(folder, "model-00002-of-00002.safetensors")
    with pytest.raises(ModelError, match=r"a part is missing .*which is not there\). Get the model again"):
        count_weights(folder, "it")


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"weight_map": 3}'], ids=lambda text: text[:9])
def test_a_damaged_index_is_refused(text, folder):
    write_index(folder, PART)
    (folder / INDEX).write_text(text)
    refused(folder, "list of the weight files")


def test_an_adapter_beside_the_model_takes_it_nowhere_else(folder, tmp_path):
    """Transformers would load the base that the adapter names in place of the model that is asked for."""
    save_model(tmp_path / "other")
    config = {"peft_type": "LORA", "base_model_name_or_path": str(tmp_path / "other"), "r": 4}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    refused(folder, "beside the model")


def test_a_weight_that_is_missing_is_not_drawn_at_random(folder):
    weights = load_file(folder / WHOLE)
    del weights["transformer.h.1.mlp.c_fc.weight"], weights["transformer.ln_f.bias"]
    save_file(weights, folder / WHOLE, {"format": "pt"})
    refused(folder, r"lack transformer\.h\.1\.mlp\.c_fc\.weight \(in all: 2\)")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"])
def test_a_file_of_settings_that_is_none_is_refused(name, folder):
    for text in ("[" * 100_000, "[1]"):
        (folder / name).write_text(text)
        refused(folder, "transformers cannot load")


@pytest.mark.parametrize("key", ["n_layer", "num_hidden_layers"])
def test_a_config_without_end_is_refused_before_it_is_built(key, folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {key: 10**7}))
    refused(folder, "10,000,000 layers")


@pytest.mark.parametrize("changes", [{"n_layer": "x"}, {"n_embd": -4}, {"vocab_size": 10}, {"n_layer": 9}])
def test_a_config_of_another_model_is_refused(changes, folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    refused(folder, "transformers cannot load|lack transformer.h.2")
