"""The profile of a step: matrix products counted by hand, whoever calls them, and the script on the least work."""

import json
import sys
from collections import Counter

import pytest
import torch
from torch.nn import functional as F
from torch.profiler import profile

from benchmarks import profile_step
from lorabook.lora import LoRAConfig, LoRALinear, apply_lora
from tests.kit.families import gpt_bigcode

R = 5  # no other size of the tiny model


def products(dropout: float = 0.0, checkpointing: bool = False) -> Counter:
    """How many matrix products a step has, by part and pass."""
    model = gpt_bigcode()
    apply_lora(model, LoRAConfig(r=R, alpha=8, dropout=dropout))
    step = profile_step.training_step(model, profile_step.batch_of(2, 24).to("cpu"), checkpointing)
    step()
    with profile(record_shapes=True) as profiled:
        step()
    kinds = profile_step.PRODUCTS
    return Counter((part, how) for e, part, how in profile_step.places(profiled.events(), R) if e.name in kinds)


# Eight adapted layers in two blocks. Of the first one the input needs no gradient: the embeddings are frozen.
FORWARD = {("base linear layers", "forward"): 8, ("LoRA", "forward"): 2 * 8}
BACKWARD = {("base linear layers", "backward"): 7, ("LoRA", "backward"): 4 * 8 - 1}  # of dB, dz, dA and dx
HEAD = {("loss", "forward"): 2}  # the logits, and the gradient that is formed at once


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    make = profile_step.batch_of

    def batch_of(rows: int, sequence: int):
        batch = make(rows, sequence)
        return type(batch)(batch.input_ids % 64, batch.label_positions, batch.labels % 64)

    monkeypatch.setattr(profile_step, "batch_of", batch_of)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.seconds
def test_products_stand_where_they_belong(dropout):
    assert products(dropout) == FORWARD | BACKWARD | HEAD


def test_recomputed_products_are_told_apart():
    """Every block is computed again until it has what its derivatives need: all, but perhaps its last products."""
    found = products(checkpointing=True)
    again = {part: found.pop((part, "recomputed")) for part in ("base linear layers", "LoRA")}
    assert 6 <= again["base linear layers"] <= 8 and 14 <= again["LoRA"] <= 16
    assert found == FORWARD | BACKWARD | HEAD


class Fused(torch.autograd.Function):
    """A LoRA layer in one function, which calls neither the base layer nor a module for dropout."""

    @staticmethod
    def forward(ctx, x, W, b, A, B, scaling):
        z = F.linear(x, A) * scaling
        ctx.save_for_backward(x, W, A, B, z)
        ctx.scaling = scaling
        return F.linear(x, W, b) + F.linear(z, B)

    @staticmethod
    def backward(ctx, g):
        x, W, A, B, z = ctx.saved_tensors
        dz = (g @ B) * ctx.scaling
        dB = g.flatten(0, -2).T @ z.flatten(0, -2)
        dA = dz.flatten(0, -2).T @ x.flatten(0, -2)
        dx = g @ W + dz @ A if ctx.needs_input_grad[0] else None
        return dx, None, None, dA, dB, None


def test_a_fused_layer_is_told_apart_by_its_shapes(monkeypatch):
    def forward(self, x):
        return Fused.apply(x, self.base_layer.weight, self.base_layer.bias, self.A, self.B, self.scaling)

    monkeypatch.setattr(LoRALinear, "forward", forward)
    assert products() == FORWARD | BACKWARD | HEAD


@pytest.mark.seconds
def test_every_part_has_its_time_and_the_sum_is_the_whole():
    model = gpt_bigcode()
    apply_lora(model, LoRAConfig(r=R, alpha=8, dropout=0.5))
    step = profile_step.training_step(model, profile_step.batch_of(2, 24), False)
    step()
    with profile(record_shapes=True) as profiled:
        step()
    found = Counter()
    for e, part, _ in profile_step.places(profiled.events(), R):
        found[part] += e.self_cpu_time_total
    whole = sum(e.cpu_time_total for e in profiled.events() if e.cpu_parent is None)
    assert set(found) == set(profile_step.PARTS) and all(found.values())
    assert sum(found.values()) == pytest.approx(whole, rel=0.01)
    lines = profile_step.table({part: {"forward": time} for part, time in found.items()}).splitlines()
    assert len(lines) == 1 + len(profile_step.PARTS)
    assert sum(float(line.split()[-1].rstrip("%")) for line in lines[1:]) == pytest.approx(100, abs=0.5)


@pytest.mark.slow
def test_the_script_prints_its_tables_and_writes_its_record(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(profile_step.measure, "__defaults__", (gpt_bigcode,))
    options = ["--rows", "1", "--sequence", "24", "--steps", "1", "--output", str(tmp_path / "profile.json")]
    monkeypatch.setattr(sys, "argv", ["profile_step.py", *options])
    profile_step.main()
    record, printed = json.loads((tmp_path / "profile.json").read_text()), capsys.readouterr().out
    assert record["script"] == "benchmarks/profile_step.py" and {"load", "threads", "versions"} < record.keys()
    assert [(run["dropout"], run["checkpointing"]) for run in record["runs"]] == list(profile_step.SETTINGS)
    for run in record["runs"]:
        assert list(run["milliseconds"]) == list(profile_step.PARTS) and run["unprofiled"] > 0
        assert any("recomputed" in times for times in run["milliseconds"].values()) == run["checkpointing"]
        assert (sum(run["milliseconds"]["dropout"].values()) > 0.01) == (run["dropout"] > 0)
    assert printed.count("base linear layers") == 3 and printed.count("without profiler") == 3
