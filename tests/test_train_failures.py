"""How `finetune` fails: numbers that are not finite, memory that runs out, models that cannot be trained."""

import pytest
import torch
from tiny import gpt_bigcode
from tiny_runs import HELD_OUT, TRAIN, assert_close, config, differing, gradients_of, lora_model, values
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from lorabook.errors import SettingError, TrainingError
from lorabook.lora import lora_layers
from lorabook.loss import AnswerLoss
from lorabook.memory.advice import out_of_memory
from lorabook.merging import merge
from lorabook.train import finetune
from lorabook.train_parts import trained


def spoil_weight(model: nn.Module, monkeypatch) -> None:
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.base_layer.weight[0, 0] = float("nan")


def spoil_loss(model: nn.Module, monkeypatch) -> None:
    forward, calls = AnswerLoss.forward, []

    def third_is_infinite(self, *args):
        calls.append(self.model.training)
        return forward(self, *args) * (float("inf") if sum(calls) == 9 else 1)

    monkeypatch.setattr(AnswerLoss, "forward", third_is_infinite)


def spoil_gradient(model: nn.Module, monkeypatch) -> None:
    calls = []
    next(lora_layers(model))[1].A.register_hook(
        lambda g: calls.append(0) or (g * float("nan") if len(calls) > 5 else g)
    )


@pytest.mark.parametrize("spoil", [spoil_weight, spoil_loss, spoil_gradient])
def test_a_number_that_is_not_finite_stops_the_run_before_it_reaches_a_weight(spoil, monkeypatch):
    model, copies = lora_model(), []
    copies.append(values(model))
    spoil(model, monkeypatch)
    handle = register_optimizer_step_post_hook(lambda *_: copies.append(values(model)))
    with pytest.raises(TrainingError, match=r"The (loss is (nan|inf)|gradient is not finite) at step \d"):
        finetune(model, TRAIN, HELD_OUT, config(steps=20))
    handle.remove()
    assert len(copies) < 20
    trained_now = {n: p.detach() for n, p in trained(model)}
    assert differing({n: copies[-1][n] for n in trained_now}, trained_now) == []


def out_of_memory_above(tokens: int, monkeypatch, error: Exception) -> None:
    forward = AnswerLoss.forward

    def limited(self, ids, *rest):
        if self.model.training and ids.numel() > tokens:
            raise error
        return forward(self, ids, *rest)

    monkeypatch.setattr(AnswerLoss, "forward", limited)


ERRORS = [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]


@pytest.mark.parametrize("error", ERRORS)
def test_where_memory_runs_out_the_micro_batches_are_split(error, monkeypatch, capsys):
    model, other, settings = lora_model(), lora_model(), config(micro_tokens=150)
    plain = gradients_of(other, lambda: finetune(other, TRAIN, HELD_OUT, settings))
    capsys.readouterr()
    out_of_memory_above(60, monkeypatch, error)
    seen = gradients_of(model, lambda: finetune(model, TRAIN, HELD_OUT, settings))
    for mine, theirs in zip(seen, plain, strict=True):
        assert_close(mine, theirs, 1e-4)
    said = capsys.readouterr().out.splitlines()
    assert said == [f"out of memory: micro-batches are now split in {k}, the effective batch stays" for k in (2, 4)]


def test_a_row_that_does_not_fit_alone_is_an_error(monkeypatch):
    model = lora_model()
    before = values(model)
    out_of_memory_above(5, monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(TrainingError, match="One row alone does not fit into memory") as caught:
        finetune(model, TRAIN, HELD_OUT, config())
    assert differing(before, values(model)) == [] and caught.value.__context__ is None


def test_another_error_is_not_taken_for_one_of_memory(monkeypatch):
    out_of_memory_above(5, monkeypatch, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        finetune(lora_model(), TRAIN, HELD_OUT, config())
    assert out_of_memory(MemoryError()) and not out_of_memory(ValueError("out of memory"))


def merged() -> nn.Module:
    model = lora_model()
    merge(model)
    return model


REFUSED = {
    "merged into the base": merged,
    "No parameter of this model requires a gradient": lambda: gpt_bigcode().requires_grad_(False),
    "torch.float16, not float32": lambda: gpt_bigcode().half(),
    "torch.bfloat16, not float32": lambda: lora_model().bfloat16(),
    "has no output head": lambda: gpt_bigcode().base_model,
}


@pytest.mark.parametrize("words", REFUSED)
def test_models_that_cannot_be_trained_are_refused(words):
    with pytest.raises(SettingError, match=words):
        finetune(REFUSED[words](), TRAIN, HELD_OUT, config())


@pytest.mark.parametrize("sides", [([], HELD_OUT), (TRAIN, [])])
def test_no_rows_are_refused(sides):
    with pytest.raises(SettingError, match="no rows"):
        finetune(lora_model(), *sides, config())
