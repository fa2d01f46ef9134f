"""Adapters that travel between a base in 4 bits and the same base in full, merging, loading, the command line."""

import json
import subprocess
import sys
import warnings

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from lorabook import adapters, cli
from lorabook.errors import AdapterError, SettingError
from lorabook.lora import LoRAConfig, apply_lora, lora_layers
from lorabook.merging import merge, remove, unmerge
from lorabook.models import load_model
from lorabook.models.quantized import dequantize, packed_layers, quantize
from lorabook.peft_format import adapter_file
from lorabook.peft_format.fingerprint import Fingerprint
from tests.kit.adapters import adapted, fill_adapter
from tests.kit.families import logits
from tests.kit.oracles import with_peft
from tests.kit.quantized import BASES, dense_copy, packed
from tests.kit.untouched import assert_untouched, snapshot

pytest.importorskip("bitsandbytes", reason="needs bitsandbytes: pip install 'lorabook[quantized]'")
LORA = LoRAConfig(r=4, alpha=6)


def said(model, folder) -> list[str]:
    """The warnings that loading the adapter gives."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        adapter_file.load(model, folder)
    return [str(w.message) for w in heard if w.category is UserWarning]


# Files


@pytest.mark.parametrize("kind", BASES)
def test_an_adapter_of_a_packed_base_loads_there_and_with_a_warning_on_the_base_in_full(kind, tmp_path):
    model = adapted(packed(kind), LORA)
    dense = dense_copy(packed(kind))
    adapter_file.save(model, tmp_path)
    again, single, full = packed(kind), packed(kind, double=False), BASES[kind]()
    assert said(again, tmp_path) == said(single, tmp_path) == []
    assert torch.equal(logits(again), logits(model))
    (told,) = said(full, tmp_path)
    assert "trained on this base in 4 bits, and here it is in full" in told
    assert torch.equal(logits(full), logits(adapted(BASES[kind](), LORA)))
    unpacked = packed(kind)
    dequantize(unpacked)
    assert said(unpacked, tmp_path) == [], "its weights are those of training"
    torch.testing.assert_close(logits(unpacked), logits(adapted(dense, LORA)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", BASES)
def test_an_adapter_of_the_base_in_full_loads_on_the_packed_base_with_a_warning(kind, tmp_path):
    adapter_file.save(adapted(BASES[kind](), LORA), tmp_path)
    model = packed(kind)
    (told,) = said(model, tmp_path)
    assert "trained on this base in full, and here it is in 4 bits" in told
    assert torch.equal(logits(model), logits(adapted(packed(kind), LORA)))


def nudged(kind: str, share: float):
    """The base with every parameter of its blocks moved, norms too, as by training it."""
    model = BASES[kind]()
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if ".h." in name or ".layers." in name:
                p.add_(share * p.square().mean().sqrt() * torch.randn(p.shape, generator=draw))
    return model


@pytest.mark.parametrize("kind", BASES)
def test_another_base_is_refused_however_it_and_the_adapters_are_stored(kind, tmp_path):
    for name, model in (("packed", packed(kind)), ("full", BASES[kind]())):
        adapter_file.save(adapted(model, LORA), tmp_path / name)
    others = [BASES[kind](seed=7), packed(kind, seed=7), nudged(kind, 0.03), nudged(kind, 0.03)]
    quantize(others[-1])
    for other in others:
        for name in ("packed", "full"):
            with pytest.raises(AdapterError, match="trained on other base weights"):
                adapter_file.load(other, tmp_path / name)


@pytest.mark.parametrize("kind", BASES)
def test_a_base_is_known_from_whatever_precision_it_was_packed(kind):
    known = [Fingerprint.of(packed(kind, dtype=t)) for t in (torch.float32, torch.float16, torch.bfloat16)]
    assert all(a.matches(b) for a in known for b in known)
    assert all(a.matches(Fingerprint.of(BASES[kind]().to(torch.bfloat16))) for a in known)
    assert Fingerprint.from_json(json.loads(json.dumps(vars(known[0])))) == known[0]


@pytest.mark.parametrize("kind", BASES)
def test_peft_reads_our_adapter_of_a_packed_base_and_we_read_its_own(kind, tmp_path):
    model = adapted(packed(kind), LORA)
    adapter_file.save(model, tmp_path / "ours", base_name="tiny")
    theirs = PeftModel.from_pretrained(packed(kind), tmp_path / "ours")
    torch.testing.assert_close(logits(theirs), logits(model), rtol=0, atol=1e-5)
    theirs.save_pretrained(tmp_path / "theirs", save_embedding_layers=False)
    back = packed(kind)
    adapter_file.load(back, tmp_path / "theirs")
    assert torch.equal(logits(back), logits(model))
    with safe_open(tmp_path / "ours" / "adapter_model.safetensors", "pt") as ours:
        keys = set(ours.keys())
    assert not any("absmax" in key or "quant" in key for key in keys)


# Merging


@pytest.mark.parametrize("kind", BASES)
def test_merging_is_refused_in_4_bits_and_after_unpacking_computes_what_it_did(kind, tmp_path):
    model = adapted(packed(kind), LORA)
    unmerged, before = logits(model), snapshot(model)
    with pytest.raises(SettingError, match=r"Call lorabook\.models\.quantized\.dequantize\(model\)"):
        merge(model)
    assert_untouched(model, before)
    dequantize(model)
    assert torch.allclose(logits(model), unmerged, atol=5e-5) and not any(True for _ in packed_layers(model))
    merge(model)
    torch.testing.assert_close(logits(model), unmerged, rtol=0, atol=5e-5)
    unmerge(model)
    torch.testing.assert_close(logits(model), unmerged, rtol=0, atol=5e-5)
    merge(model, keep_copy=False)
    remove(model)
    kinds = {n: type(m) for n, m in BASES[kind]().named_modules()}
    assert {n: type(m) for n, m in model.named_modules()} == kinds
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(logits(AutoModelForCausalLM.from_pretrained(tmp_path)), unmerged, rtol=0, atol=5e-5)


def test_unpacking_takes_the_adapters_beside_the_model_along():
    model = packed("GPT-2")
    for name in ("one", "two"):
        adapters.add(model, name, LORA)
        adapters.activate(model, name)
        fill_adapter(model, seed=len(name) + ord(name[0]))
    two = logits(model)
    dequantize(model)
    torch.testing.assert_close(logits(model), two, rtol=0, atol=1e-5)
    adapters.activate(model, "one")
    merge(model)
    with pytest.raises(SettingError, match="No layer of this model is in 4 bits"):
        dequantize(model)
    assert any(layer.merged for _, layer in lora_layers(model))


# Loading


def test_a_model_read_into_4_bits_is_the_one_that_is_packed_afterwards():
    before = torch.get_rng_state()
    read = load_model("pocket", device="cpu", quantize="nf4").model
    assert torch.equal(torch.get_rng_state(), before)
    late = packed("pocket")
    ids = torch.arange(40).view(2, 20)
    assert Fingerprint.of(read) == Fingerprint.of(late) and torch.equal(logits(read, ids), logits(late, ids))
    kinds = [{n: (p.dtype, tuple(p.shape)) for n, p in m.named_parameters()} for m in (read, late)]
    assert kinds[0] == kinds[1]
    assert {p.dtype for n, p in read.named_parameters() if "wte" in n or "ln_" in n} == {torch.float32}
    assert not any(layer.support_avx512bf16_for_cpu for _, layer in packed_layers(read))
    apply_lora(read, LORA)
    assert with_peft(late, LORA)  # PEFT takes it too
    with pytest.raises(SettingError, match="quantize is 'int8'"):
        load_model("pocket", quantize="int8")  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
def test_the_command_line_trains_on_4_bits_and_merges_what_it_trained(tmp_path):
    def run(*arguments: str) -> str:
        return CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False).stdout

    adapter, merged = str(tmp_path / "adapter"), str(tmp_path / "merged")
    quick = ["--steps", "2", "--rows", "30", "--max-length", "96", "--batch-tokens", "256", "--r", "2", "--alpha", "4"]
    out = run("finetune", *quick, "--quantize", "nf4", "--output", adapter)
    assert "weights in float32, linear layers in 4 bits" in out and "held-out loss: " in out
    assert run("merge", "--adapter", adapter, "--quantize", "nf4", "--output", merged).endswith(f"{merged}\n")
    tuned = load_model("pocket", device="cpu", quantize="nf4").model
    adapter_file.load(tuned, adapter)
    ids = torch.arange(40).view(2, 20)
    torch.testing.assert_close(
        logits(AutoModelForCausalLM.from_pretrained(merged), ids), logits(tuned, ids), rtol=0, atol=1e-4
    )


@pytest.mark.seconds
def test_a_notebook_stays_quiet_when_peft_imports_bitsandbytes():
    code = (
        "from lorabook.workbook.kit.setup import setup; setup(); import peft, sys; assert 'bitsandbytes' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stderr == ""
