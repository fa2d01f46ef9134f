"""Stopping and going on: a run in two pieces is the run in one, bit for bit, on a CPU."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lorabook.errors import CheckpointError, TrainingError
from lorabook.lora import LoRAConfig, apply_lora
from lorabook.step.config import schedule
from lorabook.step.optimizer import trained
from lorabook.training.checkpoint import latest
from lorabook.training.evaluate import answer_loss
from lorabook.training.history import History
from lorabook.training.loop import MOST_OVERFLOWS, finetune
from tests.kit.accelerators import OneOfMany, ScaledAccelerator, use
from tests.kit.families import gpt_bigcode
from tests.kit.runs import HELD_OUT, TRAIN, config, differing, lora_model, rows, stop_at, values

LOGGED = {"log_every": 1, "steps": 10, "clip": 0.5}


def comparable(history: History) -> dict:
    steps = [dataclasses.replace(s, seconds=0.0, peak_bytes=0) for s in history.steps]
    return dataclasses.asdict(dataclasses.replace(history, steps=steps))


def build(kind: str) -> nn.Module:
    if kind == "full":
        return gpt_bigcode(resid_pdrop=0.2, attn_pdrop=0.1)
    return lora_model(dropout=0.3)


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("kind", "changes"), [("LoRA", {}), ("LoRA", {"lora_plus": 4.0, "activation_checkpointing": True}), ("full", {})]
)
def test_ten_steps_are_five_and_five_more(kind, changes, tmp_path):
    """Dropout on, across the end of an epoch: weights, optimizer, random state and history are equal."""
    settings = config(**LOGGED | changes)
    whole = build(kind)
    expected = finetune(whole, TRAIN, HELD_OUT, settings, output=tmp_path / "whole")

    first = build(kind)
    stopped = finetune(first, TRAIN, HELD_OUT, settings, output=tmp_path / "parts", on_log=stop_at(5))
    assert (len(stopped.steps), stopped.stopped, len(stopped.held_out)) == (5, "interrupted", 1)
    second = build(kind)
    torch.rand(17)
    said = set()
    again = {"output": tmp_path / "parts", "resume": True}
    history = finetune(second, TRAIN, HELD_OUT, settings, **again, on_log=lambda h: said.add(h.stopped))

    assert comparable(history) == comparable(expected) and (said, history.stopped) == ({"running"}, "finished")
    assert differing(values(whole), values(second)) == []
    ends = [latest(tmp_path / name / "checkpoints").tensors for name in ("whole", "parts")]
    assert differing(*ends) == [] and any(k.startswith("optimizer.exp_avg_sq") for k in ends[0])
    assert len(trained(whole)) * 4 + 1 == len(ends[0])  # weight, step and two moments each; one random state


def test_resuming_where_there_is_nothing_starts_anew(tmp_path):
    plain, other = lora_model(), lora_model()
    finetune(plain, TRAIN, HELD_OUT, config())
    assert len(finetune(other, TRAIN, HELD_OUT, config(), output=tmp_path, resume=True).steps) == 4
    assert differing(values(plain), values(other)) == []


def test_without_resume_an_old_checkpoint_is_not_used(tmp_path):
    finetune(lora_model(), TRAIN, HELD_OUT, config(), output=tmp_path)
    model = lora_model()
    history = finetune(model, TRAIN, HELD_OUT, config(steps=2), output=tmp_path)
    assert len(latest(tmp_path / "checkpoints").state["history"]["steps"]) == 2
    assert len(history.steps) == 2 and history.held_out[0] == (0, answer_loss(lora_model(), HELD_OUT).loss)


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    model, again = lora_model(), lora_model()
    finished = finetune(model, TRAIN, HELD_OUT, config(), output=tmp_path)
    assert comparable(finetune(again, TRAIN, HELD_OUT, config(), output=tmp_path, resume=True)) == comparable(finished)
    assert differing(values(model), values(again)) == []


def other_base() -> nn.Module:
    return lora_model(seed=1)


def other_alpha() -> nn.Module:
    model = gpt_bigcode()
    apply_lora(model, LoRAConfig(r=4, alpha=9, targets=("all-linear", "wte")))
    return model


OTHER: dict[str, dict[str, Any]] = {
    rf"lr \({config().lr}, now 0\.02\)": {"settings": config(lr=2e-2)},
    "seed": {"settings": config(seed=1)},
    r"steps \(4, now 5\) and batch_tokens": {"settings": config(steps=5, batch_tokens=151)},
    "training examples": {"train": TRAIN[:-1]},
    "held-out examples": {"held_out": rows(6, seed=2)},
    "frozen weights": {"model": other_base},
    "LoRA settings": {"model": other_alpha},
    "trained parameters": {"model": lambda: lora_model(targets=("all-linear",))},
}


@pytest.mark.parametrize("name", OTHER)
def test_a_checkpoint_of_another_run_is_refused_by_what_differs(name, tmp_path):
    finetune(lora_model(), TRAIN, HELD_OUT, config(), output=tmp_path)
    now = {"model": lora_model, "train": TRAIN, "held_out": HELD_OUT, "settings": config()} | OTHER[name]
    model = now["model"]()
    before = values(model)
    with pytest.raises(CheckpointError, match=f"of another run, with other .*{name}"):
        finetune(model, now["train"], now["held_out"], now["settings"], output=tmp_path, resume=True)
    assert differing(before, values(model)) == []


def test_settings_that_change_no_gradient_may_change(tmp_path):
    finetune(lora_model(), TRAIN, HELD_OUT, config(log_every=1), output=tmp_path, on_log=stop_at(2))
    smaller = config(micro_tokens=30, activation_checkpointing=True, checkpoint_every=3)
    assert len(finetune(lora_model(), TRAIN, HELD_OUT, smaller, output=tmp_path, resume=True).steps) == 4


def test_a_damaged_checkpoint_costs_its_steps_only(tmp_path):
    settings, whole, model = config(steps=9, checkpoint_every=3), lora_model(dropout=0.3), lora_model(dropout=0.3)
    finetune(whole, TRAIN, HELD_OUT, settings, output=tmp_path)
    folder = tmp_path / "checkpoints"
    tensors = latest(folder).folder / "state.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="step-000009 is damaged"):
        history = finetune(model, TRAIN, HELD_OUT, settings, output=tmp_path, resume=True)
    assert len(history.steps) == 9 and differing(values(whole), values(model)) == []


def test_a_checkpoint_holds_no_base_and_no_pickle(tmp_path):
    model = lora_model(targets=("c_attn",))
    finetune(model, TRAIN, HELD_OUT, config(checkpoint_every=1), output=tmp_path)
    folders = sorted((tmp_path / "checkpoints").iterdir())
    assert [f.name for f in folders] == ["step-000003", "step-000004"]
    assert {f.suffix for folder in folders for f in folder.iterdir()} == {".safetensors", ".json"}
    numbers = sum(p.numel() for _, p in trained(model))
    size = (folders[0] / "state.safetensors").stat().st_size
    assert 12 * numbers < size < 12 * numbers + 12_000  # the weight and two moments; the random state and the header
    base = sum(p.numel() for p in model.parameters()) - numbers
    assert size < 4 * base


def test_no_output_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finetune(lora_model(), TRAIN, HELD_OUT, config(checkpoint_every=1))
    assert list(tmp_path.iterdir()) == []


def scaled(monkeypatch, scale: float) -> None:
    use(monkeypatch, ScaledAccelerator, scale=scale)


def test_a_loss_scale_changes_no_step(monkeypatch):
    plain, model = lora_model(), lora_model()
    settings = config(clip=0.5)
    expected = finetune(plain, TRAIN, HELD_OUT, settings)
    scaled(monkeypatch, 2.0**10)
    history = finetune(model, TRAIN, HELD_OUT, settings)
    assert differing(values(plain), values(model)) == []  # a power of two costs no digit
    assert [s.grad_norm for s in history.steps] == [s.grad_norm for s in expected.steps]


def test_an_overflow_skips_the_step_and_the_schedule_waits(monkeypatch):
    scaled(monkeypatch, 2.0**127)
    model = lora_model()
    weights = [values(model)]
    settings = config(steps=20, warmup=0.5, log_every=1, seed=4)
    history = finetune(model, TRAIN, HELD_OUT, settings, on_log=lambda _: weights.append(values(model)))
    skipped = [s.skipped for s in history.steps]
    assert 2 <= sum(skipped) <= 15 and skipped[0] and not skipped[-1]
    for i, s in enumerate(history.steps):
        assert s.lr == pytest.approx(1e-2 * schedule((skipped[:i].count(False) + 0.5) / 20, 0.5))
        assert (differing(weights[i], weights[i + 1]) == []) == s.skipped


@pytest.mark.parametrize("overflows", [MOST_OVERFLOWS, MOST_OVERFLOWS + 1])
def test_too_many_overflows_in_a_row_end_the_run(overflows, monkeypatch):
    scaled(monkeypatch, 2.0**10)
    model, calls = lora_model(), []
    inf = float("inf")
    trained(model)[0][1].register_hook(lambda g: calls.append(0) or (g * inf if len(calls) <= overflows else g))
    settings = config(steps=25, batch_tokens=50)  # one micro-batch a step, so one call
    if overflows <= MOST_OVERFLOWS:
        assert [s.skipped for s in finetune(model, TRAIN, HELD_OUT, settings).steps].count(True) == overflows
    else:
        with pytest.raises(TrainingError, match=f"gradient is not finite at step {overflows}, {overflows} time"):
            finetune(model, TRAIN, HELD_OUT, settings)


def test_the_loss_scale_is_resumed(monkeypatch, tmp_path: Path):
    scaled(monkeypatch, 2.0**127)
    settings = config(**LOGGED, seed=4)
    whole, model = lora_model(), lora_model()
    expected = finetune(whole, TRAIN, HELD_OUT, settings, output=tmp_path / "whole")
    finetune(lora_model(), TRAIN, HELD_OUT, settings, output=tmp_path / "parts", on_log=stop_at(3))
    history = finetune(model, TRAIN, HELD_OUT, settings, output=tmp_path / "parts", resume=True)
    assert [s.skipped for s in history.steps] == [s.skipped for s in expected.steps] and expected.steps[0].skipped
    assert differing(values(whole), values(model)) == []
    mine, theirs = (latest(tmp_path / name / "checkpoints").state["scaler"] for name in ("parts", "whole"))
    assert mine == theirs and mine["scale"] < 2.0**127 and mine["_growth_tracker"] > 3


@pytest.mark.seconds
def test_each_process_draws_dropout_of_its_own_after_resuming(tmp_path, monkeypatch):
    """The checkpoint has the main process's random state. The others go on with none that was drawn from before."""
    drawn: list[tuple[float, ...]] = []

    def run(rank: int, **more: Any) -> tuple[float, ...]:
        """What the first forward pass of training would draw, in process `rank` of 4."""
        use(monkeypatch, OneOfMany, rank=rank, world=4)
        model, draws = lora_model(dropout=0.3), []

        def look(module, _) -> None:
            if module.training and not draws:
                before = torch.get_rng_state()
                draws.append(tuple(torch.rand(4).tolist()))
                torch.set_rng_state(before)

        model.base_model.register_forward_pre_hook(look)
        finetune(model, TRAIN, HELD_OUT, config(steps=4, log_every=1), output=tmp_path, **more)
        return draws[0]

    drawn += [run(rank) for rank in range(1, 4)]
    for steps in (1, 2):
        first = run(0, on_log=stop_at(steps))
        drawn += [run(rank, resume=True) for rank in range(1, 4)]
    drawn += [first, run(0, resume=True)]
    assert len(set(drawn)) == len(drawn) == 11
