"""Findings in an adapter's files: for each a folder with the fault, written by PEFT; sound folders; PEFT as oracle."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import BitsAndBytesConfig

from lorabook import LoRAConfig
from lorabook.diagnosis.adapter_findings import CHECKS
from lorabook.diagnosis.findings import find_faults, look, report
from lorabook.diagnosis.read_run import read_run
from lorabook.errors import AdapterError, CheckpointError
from lorabook.peft_format import adapter_file
from tests.kit.adapters import adapted
from tests.kit.families import llama
from tests.kit.foreign import base_folder, base_model, filled, peft_model, tokenizer_of

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT's own, on embeddings, shards, lora_bias


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return base_folder(tmp_path_factory.mktemp("base") / "model")


def found(folder: Path) -> list[str]:
    return [finding.name for finding in find_faults(read_run(folder))]


def trained(base: Path, **settings) -> PeftModel:
    return filled(peft_model(base_model(base), **settings))


def saved(**settings) -> Callable[[Path, Path], None]:
    """Writes an adapter of these settings that looks trained."""
    return lambda folder, base: trained(base, **settings).save_pretrained(folder)


def compiled(folder: Path, base: Path) -> None:
    inner = torch.compile(base_model(base))
    model = filled(peft_model(inner, target_modules=["q_proj", "up_proj"], task_type=None))
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(folder)


def sharded(values: slice) -> Callable[[Path, Path], None]:
    """Writes what ZeRO-3 leaves of each parameter in a process."""

    def write(folder: Path, base: Path) -> None:
        model = trained(base)
        model.save_pretrained(folder, state_dict={k: v.flatten()[values] for k, v in model.state_dict().items()})

    return write


def of_two_runs(**other) -> Callable[[Path, Path], None]:
    """Writes the weights of one run and the config of another."""

    def write(folder: Path, base: Path) -> None:
        trained(base, target_modules=["q_proj", "up_proj"]).save_pretrained(folder)
        config = trained(base, **({"target_modules": ["q_proj", "up_proj"]} | other)).peft_config["default"]
        config.save_pretrained(folder)

    return write


def without_base(folder: Path, base: Path) -> None:
    filled(peft_model(llama())).save_pretrained(folder)


def base_gone(folder: Path, base: Path) -> None:
    trained(base_folder(base.parent / "gone")).save_pretrained(folder)
    (base.parent / "gone").rename(base.parent / "elsewhere")


def resized(**save) -> Callable[[Path, Path], None]:
    def write(folder: Path, base: Path) -> None:
        model, tokenizer = base_model(base), tokenizer_of(base)
        tokenizer.add_tokens([f"<{i}>" for i in range(70)])
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        filled(peft_model(model)).save_pretrained(folder, **save)
        tokenizer.save_pretrained(folder)

    return write


def templated(folder: Path, base: Path) -> None:
    trained(base).save_pretrained(folder)
    tokenizer_of(base, chat_template="{{ messages[0]['content'] }}").save_pretrained(folder)


def quantized(folder: Path, base: Path) -> None:
    model = base_model(base, quantization_config=BitsAndBytesConfig(load_in_4bit=True))
    model.save_pretrained(base.parent / "nf4")
    trained(base.parent / "nf4").save_pretrained(folder)


def named(name: str) -> Callable[[Path, Path], None]:
    def write(folder: Path, base: Path) -> None:
        model = trained(base)
        model.peft_config["default"].base_model_name_or_path = name
        model.save_pretrained(folder)

    return write


SICK = [
    ("pickled weights", lambda folder, base: trained(base).save_pretrained(folder, safe_serialization=False)),
    ("adapter empty", lambda folder, base: trained(base).save_pretrained(folder, state_dict={})),
    ("adapter empty", lambda folder, base: trained(base).peft_config["default"].save_pretrained(folder)),
    ("keys do not match", compiled),
    ("keys do not match", sharded(slice(None))),
    ("keys do not match", sharded(slice(0))),
    ("keys do not match", of_two_runs(r=2, lora_alpha=4)),
    ("keys do not match", of_two_runs(rank_pattern={"up_proj": 2})),
    ("keys do not match", of_two_runs(target_modules=["q_proj"])),
    ("target matches nothing", saved(target_modules=["q_proj", "up_proj", "c_attn"])),
    ("some layers left out", saved(target_modules=["q_proj", "up_proj"], layers_to_transform=[0])),
    ("some layers left out", saved(target_modules=r".*\.0\..*_proj")),
    ("attention only", saved(target_modules=["q_proj", "v_proj"])),
    ("full matrices saved", saved(modules_to_save=["lm_head"])),
    ("full matrices saved", saved(target_modules=["q_proj", "up_proj", "embed_tokens"])),
    ("unusual α/r", saved(lora_alpha=32)),
    ("unusual α/r", saved(lora_alpha=0.25)),
    ("half precision", lambda folder, base: trained(base).half().save_pretrained(folder)),
    ("half precision", lambda folder, base: trained(base).bfloat16().save_pretrained(folder)),
    ("base not found", without_base),
    ("base not found", base_gone),
    ("base not found", named("runs/llama/base")),
    ("tokenizer resized", resized(save_embedding_layers=False)),
    ("chat template changed", templated),
    ("quantized base", quantized),
    ("quantized base", named("unsloth/llama-3-8b-bnb-4bit")),
    # of findings that runs have too
    ("never trained", lambda folder, base: peft_model(base_model(base)).save_pretrained(folder)),
    ("NaN or zero loss", lambda folder, base: filled(trained(base), float("nan")).save_pretrained(folder)),
]
HEALTHY = {
    "all linear layers": saved(),
    "a list of names": saved(target_modules=["q_proj", "v_proj", "up_proj"]),
    "another rank for some": saved(rank_pattern={"q_proj": 2}),
    "rsLoRA": saved(use_rslora=True),
    "DoRA": saved(use_dora=True),
    "biases": saved(lora_bias=True),
    "rows of tokens": saved(trainable_token_indices=[1, 2]),
    "a hub id": named("meta-llama/Llama-3.2-1B"),
    "lorabook's": lambda folder, base: adapter_file.save(adapted(llama(), LoRAConfig(r=4, alpha=8)), folder),
}
IDS = [f"{name}-{i}" for i, (name, _) in enumerate(SICK)]


@pytest.mark.parametrize(("fault", "write"), SICK, ids=IDS)
def test_a_folder_with_the_fault_is_told_and_nothing_else_is(fault, write, base, tmp_path):
    write(tmp_path / "adapter", base)
    assert found(tmp_path / "adapter") == [fault]


@pytest.mark.parametrize("kind", HEALTHY)
def test_a_sound_folder_has_no_finding(kind, base, tmp_path):
    HEALTHY[kind](tmp_path, base)
    assert found(tmp_path) == []


def test_every_check_has_its_sick_folder():
    needs_a_run = {"pad token is EOS"}
    assert {name for name, *_ in CHECKS} - needs_a_run <= {fault for fault, _ in SICK}


@pytest.mark.parametrize(("fault", "write"), [*SICK[1:9], (None, saved())], ids=[*IDS[1:9], "sound"])
def test_peft_loses_what_is_said_to_be_lost(fault, write, base, tmp_path):
    write(tmp_path, base)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            loaded = PeftModel.from_pretrained(base_model(base), tmp_path)
        except (RuntimeError, ValueError):
            assert fault
            return
    missing = any("missing adapter keys" in str(w.message) for w in seen)
    there = sum(name.endswith("lora_B.default.weight") for name, _ in loaded.named_parameters())
    adapter = read_run(tmp_path).adapter
    assert adapter and (missing or there < len(adapter.modules)) == bool(fault)


def test_new_rows_in_the_file_are_told_twice(base, tmp_path):
    resized()(tmp_path, base)
    assert found(tmp_path) == ["full matrices saved", "tokenizer resized"]
    (seen,) = [f.seen for f in find_faults(read_run(tmp_path)) if f.name == "tokenizer resized"]
    assert "73 tokens, the base 64 rows for them, the adapter's file 73" in seen


def test_the_vocabulary_is_the_tokenizer_s(base, tmp_path):
    tokenizer = tokenizer_of(base)
    trained(base).save_pretrained(tmp_path)
    for new in ([], ["<a>", "<b>"]):
        tokenizer.add_tokens(new)
        tokenizer.save_pretrained(tmp_path)
        adapter = read_run(tmp_path).adapter
        assert adapter and adapter.files.vocabulary == len(tokenizer) and found(tmp_path) == []


def test_a_template_in_the_settings_is_the_template_too(base, tmp_path):
    templated(tmp_path, base)
    tokenizer_of(tmp_path).save_pretrained(tmp_path, save_jinja_files=False)
    (tmp_path / "chat_template.jinja").unlink()
    assert found(tmp_path) == ["chat template changed"]


def test_what_a_lone_adapter_cannot_tell_is_said_by_reason(base, tmp_path):
    saved()(tmp_path, base)
    lines, sound = report(tmp_path), sum(f.present is False for f in look(read_run(tmp_path)))
    assert lines[0] == "folder: an adapter in the format of PEFT" and lines[-1] == f"found: nothing, by {sound} checks"
    assert "r = 4, α = 8 on 14 modules" in lines[1]
    untold = [line for line in lines if line.startswith("cannot be told, ")]
    of_record = "labels shifted, EOS never a label, scaling is not α/r, adapter on another base, tied head adapted"
    assert any(line.endswith(f": {of_record}") for line in untold)
    assert len(lines) == 3 + sound + len(untold)


@pytest.mark.parametrize(
    ("name", "text", "error", "words"),
    [
        ("adapter_config.json", '{"peft_type": "IA3"}', AdapterError, "describes 'IA3', not a LoRA adapter"),
        ("adapter_config.json", "{", AdapterError, "cannot be read"),
        ("adapter_model.safetensors", "x", AdapterError, "damaged"),
        ("tokenizer.json", "{", CheckpointError, "cannot be read"),
        ("tokenizer.json", '{"model": 3}', CheckpointError, "not what was written"),
    ],
)
@pytest.mark.seconds
def test_a_damaged_folder_is_refused(name, text, error, words, base, tmp_path):
    saved()(tmp_path, base)
    (tmp_path / name).write_text(text)
    with pytest.raises(error, match=words):
        report(tmp_path)
