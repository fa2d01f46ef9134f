"""Files that leave lorabook: a merged folder read where lorabook is not, an adapter read where PEFT will not work."""

import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from peft.import_utils import is_torchao_available
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from lorabook import cli
from lorabook.lora import LoRAConfig
from lorabook.merging import merge, remove
from lorabook.models import load_model
from lorabook.peft_format import adapter_file
from lorabook.workbook.kit.peft import peft_or_advice
from tests.kit import processes
from tests.kit.adapters import adapted
from tests.kit.families import MODELS, logits, token_ids

WITH_EMBEDDINGS = {
    "GPTBigCode": ("c_attn", "c_proj", "c_fc", "wte", "wpe"),
    "GPT-2": ("c_attn", "c_proj", "c_fc", "wte", "wpe"),
    "Llama": ("q_proj", "down_proj", "embed_tokens", "lm_head"),
}


def fresh_process(code: str, *arguments: object, **more) -> str:
    done = processes.run("-c", code, *map(str, arguments), **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


# A merged folder

WITHOUT_LORABOOK = """
import sys
from pathlib import Path
sys.modules["lorabook"] = None  # from here on, importing it fails
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
for folder in Path(sys.argv[1]).iterdir():
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
    assert not model.config.tie_word_embeddings
    with torch.no_grad():
        save_file({"logits": model(load_file(folder / "ids")["ids"]).logits}, folder / "logits")
assert AutoTokenizer.from_pretrained(Path(sys.argv[1]) / "pocket")("import os").input_ids
assert not any(name.startswith("lorabook.") for name in sys.modules)
"""


@pytest.mark.slow
def test_merged_folders_load_without_lorabook(tmp_path, monkeypatch):
    """Of every family, head and embeddings adapted; and what `lorabook merge` writes."""
    expected, ids = {}, {kind: token_ids() for kind in MODELS} | {"pocket": torch.arange(40)[None]}
    for kind, targets in WITH_EMBEDDINGS.items():
        model = adapted(MODELS[kind](), LoRAConfig(r=4, alpha=8, targets=targets))
        expected[kind] = logits(model)
        merge(model)
        remove(model)
        model.save_pretrained(tmp_path / "merged" / kind)
    config = LoRAConfig(r=4, alpha=8, targets=WITH_EMBEDDINGS["GPTBigCode"])
    pocket = adapted(load_model("pocket").model, config)
    expected["pocket"] = logits(pocket, ids["pocket"])
    adapter_file.save(pocket, tmp_path / "adapter", base_name="pocket")
    into = ["--output", str(tmp_path / "merged" / "pocket")]
    CliRunner().invoke(cli.app, ["merge", "--adapter", str(tmp_path / "adapter"), *into], catch_exceptions=False)
    for kind, folder in ((kind, tmp_path / "merged" / kind) for kind in expected):
        save_file({"ids": ids[kind]}, folder / "ids")
    fresh_process(WITHOUT_LORABOOK, tmp_path / "merged")
    for kind in expected:
        seen = load_file(tmp_path / "merged" / kind / "logits")["logits"]
        torch.testing.assert_close(seen.float(), expected[kind], rtol=0, atol=1e-4 if kind == "pocket" else 1e-5)


# Beside an old torchao, as Colab ships it


@pytest.fixture
def torchao(tmp_path) -> Path:
    """A folder that holds something that calls itself torchao 0.10.0."""
    (tmp_path / "torchao").mkdir()
    (tmp_path / "torchao" / "__init__.py").write_text('__version__ = "0.10.0"\n')
    (tmp_path / "torchao-0.10.0.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: torchao\nVersion: 0.10.0\n"
    (tmp_path / "torchao-0.10.0.dist-info" / "METADATA").write_text(metadata)
    return tmp_path


BESIDE_TORCHAO = """
import sys
import torchao
from lorabook.peft_format import adapter_file
from lorabook.models import load_model
from lorabook.workbook.kit.peft import peft_or_advice
base, folder = load_model("pocket").model, sys.argv[1]
with peft_or_advice():
    from peft import PeftModel
    PeftModel.from_pretrained(base, folder)
    print("PEFT works")
print(adapter_file.load(load_model("pocket").model, folder).trainable)
"""


@pytest.mark.slow
def test_beside_an_old_torchao_lorabook_works_and_peft_comes_with_advice(torchao, tmp_path):
    adapter = adapter_file.save(adapted(load_model("pocket").model, LoRAConfig(r=2)), tmp_path / "adapter")
    said = fresh_process(BESIDE_TORCHAO, adapter, cwd=torchao).splitlines()  # -c looks for modules in cwd first
    assert len(said) == 3
    assert said[0].startswith("This comparison cannot be made here: ") and "torchao" in said[0] and "0.10.0" in said[0]
    assert "%pip uninstall -y torchao" in said[1]
    assert said[2] == "29184"  # 2 * (d + k) over the sixteen linear layers of pocket


@pytest.fixture
def asked_anew():
    """PEFT remembers whether torchao is there."""
    is_torchao_available.cache_clear()
    yield
    is_torchao_available.cache_clear()


def test_the_advice_helps_in_the_same_process(torchao, asked_anew, monkeypatch, capsys):
    def compare() -> str:
        with peft_or_advice():
            from tests.kit.oracles import with_peft

            with_peft(MODELS["Llama"](), LoRAConfig(r=2, targets=("q_proj",)))
            print("the same")
        return capsys.readouterr().out

    with monkeypatch.context() as patch:
        patch.syspath_prepend(torchao)
        assert "%pip uninstall -y torchao" in compare()
    assert compare() == "the same\n"  # without it on the path, as after uninstalling


@pytest.mark.parametrize("package", ["peft", "trl"])
def test_what_is_missing_comes_with_advice(package, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    with peft_or_advice():
        import_module(package)
    assert f"%pip install -U {package}" in capsys.readouterr().out


def test_a_comparison_that_fails_still_fails():
    with pytest.raises(AssertionError), peft_or_advice():
        raise AssertionError
