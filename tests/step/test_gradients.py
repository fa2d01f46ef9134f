"""The parts of the training loop on their own: the bar, what memory use it reads, whose gradients it leaves."""

import io
import resource
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lorabook import LoRAConfig, apply_lora
from lorabook.data.batches import collate
from lorabook.lora import lora_layers
from lorabook.step.gradients import make_optimizer, set_activation_checkpointing, trained
from lorabook.training import loop as train
from lorabook.training.loop import _Run, finetune
from lorabook.training.progress import peak_bytes, progress_bar
from tests.kit.tiny import gpt_bigcode
from tests.kit.tiny_runs import HELD_OUT, TRAIN, config, lora_model


class Bar(io.StringIO):
    """Stands in for the bar: counts what it is told."""

    def __init__(self, total, initial, main):
        super().__init__()
        self.total, self.shown, self.main = total, initial, main

    def update(self, steps):
        self.shown += steps

    def write(self, line, file=None):
        print(line, file=file)


def test_the_bar_counts_every_step_and_begins_where_a_resumed_run_does(monkeypatch, tmp_path, capsys):
    bars = []
    monkeypatch.setattr(train, "progress_bar", lambda *about: bars.append(Bar(*about)) or bars[-1])
    finetune(lora_model(), TRAIN, HELD_OUT, config(steps=2, log_every=2), output=tmp_path)
    finetune(lora_model(), TRAIN, HELD_OUT, config(steps=2, log_every=2), output=tmp_path, resume=True)
    first, again = bars
    assert (first.total, first.shown, first.main) == (2, 2, True)
    assert (again.total, again.shown) == (2, 2), "nothing was left to do"
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and lines[0].startswith("step 2/2  loss ")


def test_nothing_is_drawn_where_nobody_looks(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert progress_bar(3, 0, True).disable
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = progress_bar(3, 1, True)
    assert not bar.disable and (bar.total, bar.n) == (3, 1)
    assert progress_bar(3, 0, False).disable, "a second process would draw over the first"


def test_a_finished_run_holds_no_gradients():
    model = lora_model()
    finetune(model, TRAIN, HELD_OUT, config(steps=1))
    assert [name for name, p in model.named_parameters() if p.grad is not None] == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the oracle is Linux's own account")
def test_the_peak_of_a_process_is_what_the_system_says():
    def system() -> int:
        (line,) = (s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("VmHWM"))
        return 1024 * int(line.split()[1])

    assert peak_bytes(torch.device("cpu")) == pytest.approx(system(), rel=0.01)  # it counts in pages, a batch at a time


def test_where_the_system_says_nothing_the_peak_is_0(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_bytes(torch.device("cpu")) == 0


def test_macos_counts_in_bytes(monkeypatch):
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    monkeypatch.setattr(sys, "platform", "darwin")
    assert kilobytes <= peak_bytes(torch.device("cpu")) < 2 * kilobytes


@pytest.mark.parametrize(
    ("wanted", "device", "on"),
    [(None, "cuda", True), (None, "cpu", False), (True, "cpu", True), (False, "cuda", False)],
)
def test_activations_are_recomputed_by_default_on_a_gpu_alone(wanted, device, on):
    model = lora_model()
    set_activation_checkpointing(model, wanted, torch.device(device))
    assert any(getattr(m, "gradient_checkpointing", False) for m in model.modules()) is on


def test_recomputed_activations_leave_a_frozen_embeddings_output_without_a_gradient():
    """transformers switches its gradient on; the tensor would then live from the forward pass to the step's end."""
    model = gpt_bigcode()
    apply_lora(model, LoRAConfig(targets=("c_attn",)))
    for _ in range(2):  # a model goes from run to run
        set_activation_checkpointing(model, True, torch.device("cpu"))
        assert not model.get_input_embeddings()(torch.tensor([0])).requires_grad
        model(torch.tensor([[1, 2, 3]])).logits.sum().backward()
        assert all(layer.B.grad.abs().sum() > 0 for _, layer in lora_layers(model))
        model.zero_grad()


def test_the_order_of_the_trained_names_is_the_optimizers():
    model = lora_model()
    named = trained(model)
    optimizer = make_optimizer(model, named, config(lora_plus=4.0))
    ordered = [p for group in optimizer.param_groups for p in group["params"]]
    assert [id(p) for _, p in named] == [id(p) for p in ordered]


def test_a_process_without_rows_computes_a_row_and_counts_no_label():
    one = collate([TRAIN[0]])
    filler = _Run._batch(SimpleNamespace(train=TRAIN), [])  # pyright: ignore[reportArgumentType]
    assert torch.equal(filler.input_ids, one.input_ids)
    assert filler.label_positions.shape == filler.labels.shape == (0,) and filler.labels.dtype == one.labels.dtype
