"""How `finetune` fails: numbers that are not finite, memory that runs out, models that cannot be trained."""

import json
import shutil

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from lorabook.data.batches import check_rows
from lorabook.data.examples import Example
from lorabook.errors import CheckpointError, DataError, SettingError, TrainingError
from lorabook.lora import adapters_of, lora_layers
from lorabook.memory.advice import out_of_memory, too_large
from lorabook.memory.estimate import estimate
from lorabook.memory.plan import Plan
from lorabook.merging import merge
from lorabook.step.gradients import set_activation_checkpointing
from lorabook.step.loss import AnswerLoss
from lorabook.step.optimizer import trained
from lorabook.training import checkpoint
from lorabook.training.checkpoint import latest
from lorabook.training.evaluate import answer_loss
from lorabook.training.history import History
from lorabook.training.loop import finetune
from tests.kit.families import gpt_bigcode
from tests.kit.runs import HELD_OUT, TRAIN, assert_close, config, differing, gradients_of, lora_model, stop_at, values


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


def test_a_base_that_is_not_finite_is_told_before_any_training(monkeypatch):
    model = lora_model()
    spoil_weight(model, monkeypatch)
    with pytest.raises(TrainingError, match="nan at step 0, before any training"):
        finetune(model, TRAIN, HELD_OUT, config(steps=1))


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


OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.seconds
def test_where_memory_runs_out_the_micro_batches_are_split(monkeypatch, capsys):
    model, other, settings = lora_model(), lora_model(), config(micro_tokens=150)
    plain = gradients_of(other, lambda: finetune(other, TRAIN, HELD_OUT, settings))
    capsys.readouterr()
    out_of_memory_above(60, monkeypatch, OUT_OF_MEMORY)
    seen = gradients_of(model, lambda: finetune(model, TRAIN, HELD_OUT, settings))
    for mine, theirs in zip(seen, plain, strict=True):
        assert_close(mine, theirs, 1e-4)
    said = capsys.readouterr().out.splitlines()
    assert said == [f"out of memory: micro-batches are now split in {k}, the effective batch stays" for k in (2, 4)]


@pytest.mark.seconds
def test_a_resumed_run_keeps_its_smaller_micro_batches(monkeypatch, capsys, tmp_path):
    settings = config(micro_tokens=150, log_every=1)
    out_of_memory_above(60, monkeypatch, OUT_OF_MEMORY)
    finetune(lora_model(), TRAIN, HELD_OUT, settings, output=tmp_path, on_log=stop_at(1))
    assert capsys.readouterr().out.count("out of memory") == 2
    finetune(lora_model(), TRAIN, HELD_OUT, settings, output=tmp_path, resume=True)
    assert "out of memory" not in capsys.readouterr().out


@pytest.mark.seconds
def test_an_example_that_does_not_fit_alone_is_an_error(monkeypatch):
    model = lora_model()
    before = values(model)
    out_of_memory_above(5, monkeypatch, OUT_OF_MEMORY)
    with pytest.raises(TrainingError, match="One example alone does not fit into memory") as caught:
        finetune(model, TRAIN, HELD_OUT, config())
    assert differing(before, values(model)) == [] and caught.value.__context__ is None


@pytest.mark.seconds
def test_three_times_in_a_row_ends_with_the_estimate_in_the_state_before(monkeypatch, tmp_path):
    """The figures are estimates for what was tried last and for one example."""
    model, tried, forward = lora_model(), [], AnswerLoss.forward

    def from_the_third_step(self, ids, *rest):
        if self.model.training and len(history_of) == 2:
            tried.append(ids.shape)
            raise OUT_OF_MEMORY
        return forward(self, ids, *rest)

    history_of: list = []
    monkeypatch.setattr(AnswerLoss, "forward", from_the_third_step)
    handle = register_optimizer_step_post_hook(lambda *_: history_of.append(values(model)))
    with pytest.raises(TrainingError, match=r"ran out 3 times in a row at step 3, .* examples at once") as caught:
        finetune(model, TRAIN, HELD_OUT, config(micro_tokens=150), output=tmp_path)
    handle.remove()
    assert len(tried) == 3 and tried[0][0] > tried[1][0] > tried[2][0]
    assert differing(history_of[-1], values(model)) == []
    longest = tried[0][1]  # the first try was the whole step
    for rows in (tried[2][0], 1):
        for checkpointing in (False, True):
            plan = Plan(adapters_of(model).active.config, rows, longest, "fp32", checkpointing=checkpointing)
            figure = f"{estimate(model.config, plan).predicted_peak / 2**20:,.1f} MiB with {rows} at once"
            assert figure in caught.value.advice
    assert f"Set micro_tokens to {longest}" in caught.value.advice
    assert len(latest(tmp_path / "checkpoints").state["history"]["steps"]) == 2
    assert json.loads((tmp_path / "history.json").read_text())["stopped"].startswith("failed: Memory ran out")


def test_a_model_of_an_unknown_family_gets_advice_without_figures(monkeypatch):
    model = lora_model()
    monkeypatch.setattr(type(model.config), "model_type", "another")
    error = too_large(model, 7, [[9, 12], [5]], 3)
    assert str(error).startswith(
        "Memory ran out 3 times in a row at step 7, the last time with 2 examples at once. Set micro"
    )
    set_activation_checkpointing(model, True, torch.device("cpu"))
    assert "checkpointing" in str(error) and "checkpointing" not in str(too_large(model, 7, [[9]], 1))


def test_another_error_is_not_taken_for_one_of_memory(monkeypatch):
    out_of_memory_above(5, monkeypatch, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        finetune(lora_model(), TRAIN, HELD_OUT, config())
    on_cpu = RuntimeError("DefaultCPUAllocator: can't allocate memory")
    assert all(map(out_of_memory, (OUT_OF_MEMORY, on_cpu, MemoryError())))
    assert not out_of_memory(ValueError("out of memory"))


def full(*arguments, **keywords):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("where", ["write", "copy"])
def test_a_checkpoint_that_cannot_be_written_loses_no_run(where, monkeypatch, tmp_path):
    plain, model, settings = lora_model(0.3), lora_model(0.3), config(checkpoint_every=2)
    finetune(plain, TRAIN, HELD_OUT, settings)
    if where == "write":
        monkeypatch.setattr(checkpoint, "write_tensors", full)
    else:
        monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.warns(UserWarning, match="No space left.* The run goes on without it") as caught:
        history = finetune(model, TRAIN, HELD_OUT, settings, output=tmp_path / "run", copy_to=tmp_path / "drive")
    assert history.stopped == "finished" and differing(values(plain), values(model)) == []
    assert len([w for w in caught if "goes on" in str(w.message)]) == 3  # after steps 2 and 4, and at the end
    whole = latest(tmp_path / "run" / "checkpoints")
    assert (whole is None) == (where == "write") and latest(tmp_path / "drive") is None


def test_a_history_that_cannot_be_written_is_a_warning_and_hides_no_error(monkeypatch, tmp_path):
    monkeypatch.setattr(History, "save", full)
    with pytest.warns(UserWarning, match="history.json could not be written to .*No space left"):
        assert finetune(lora_model(), TRAIN, HELD_OUT, config(), output=tmp_path).stopped == "finished"
    model = lora_model()
    spoil_loss(model, monkeypatch)
    with pytest.warns(UserWarning, match="history.json"), pytest.raises(TrainingError, match="The loss is inf"):
        finetune(model, TRAIN, HELD_OUT, config(steps=20), output=tmp_path)


def test_an_output_that_cannot_be_written_is_refused_before_the_first_step(tmp_path):
    (tmp_path / "run").write_text("a file")
    model = lora_model()
    before = values(model)
    with pytest.raises(CheckpointError, match=r"run cannot be written .* another output folder"):
        finetune(model, TRAIN, HELD_OUT, config(), output=tmp_path / "run")
    assert differing(before, values(model)) == []
    with pytest.raises(SettingError, match="a folder for copies and none for checkpoints"):
        finetune(model, TRAIN, HELD_OUT, config(), copy_to=tmp_path / "drive")


def test_weights_that_are_not_finite_reach_no_checkpoint(tmp_path):
    model = lora_model()

    def spoil(*_):
        if len(steps) == 3:
            trained(model)[0][1].data[0, 0] = float("inf")
        steps.append(0)

    steps: list[int] = []
    handle = register_optimizer_step_post_hook(spoil)
    with pytest.raises(TrainingError, match="The trained weights are not finite after step 4"):
        finetune(model, TRAIN, HELD_OUT, config(checkpoint_every=2), output=tmp_path)
    handle.remove()
    kept = latest(tmp_path / "checkpoints")
    assert kept.folder.name == "step-000002" and all(bool(t.isfinite().all()) for t in kept.tensors.values())


MISFITS = {
    "row of question 7 has 33 tokens; the model has 32 positions": Example((1,) * 33, 3, 7),
    "row of question 7 holds token 64; the model's vocabulary has 64": Example((1, 64, 2), 1, 7),
    "row of question 7 holds token -1; the model's vocabulary has 64": Example((1, 2, -1), 1, 7),
}


@pytest.mark.parametrize("words", MISFITS)
def test_a_row_that_does_not_fit_the_model_is_refused_by_its_question(words):
    model, row = lora_model(), MISFITS[words]
    for sides in ([[*TRAIN, row], HELD_OUT], [TRAIN, [row]]):
        with pytest.raises(DataError, match=words):
            finetune(model, *sides, config())
    with pytest.raises(DataError, match=words):
        answer_loss(model, [row])
    check_rows(model, [Example((63, *[0] * 31), 3, 8)])  # as long and as high as can be


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
def test_no_examples_are_refused(sides):
    with pytest.raises(SettingError, match="no training examples"):
        finetune(lora_model(), *sides, config())
