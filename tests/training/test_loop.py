"""`finetune`: its gradients against transformers' own loss, what it changes and what it leaves, how long it goes on."""

import contextlib
import json
import random
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from lorabook.data.batches import Batch, collate, epoch_plan
from lorabook.data.examples import Example
from lorabook.lora import LoRALinear, lora_layers
from lorabook.step.config import TrainConfig, schedule
from lorabook.step.loss import AnswerLoss
from lorabook.step.optimizer import make_optimizer, trained
from lorabook.training import loop as train_module
from lorabook.training import run_folder
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune, seconds_for_steps
from tests.kit.accelerators import OneOfMany, use
from tests.kit.adapters import fill_adapter
from tests.kit.families import gpt_bigcode
from tests.kit.runs import (
    HELD_OUT,
    TRAIN,
    assert_close,
    config,
    differing,
    gradients_of,
    lora_model,
    rows,
    stop_at,
    values,
)


def their_gradients(model: nn.Module, batch: list[Example]) -> tuple[float, dict[str, Tensor]]:
    """Mean loss over all labels of `batch`, an unpadded row at a time through transformers' own loss, and backwards."""
    model.zero_grad()
    total, labels = 0.0, sum(e.label_tokens for e in batch)
    for e in batch:
        ids = torch.tensor([e.input_ids])
        wanted = torch.tensor([[-100] * e.answer_start + list(e.input_ids[e.answer_start :])])
        loss = model(ids, labels=wanted).loss * e.label_tokens / labels
        loss.backward()
        total += loss.item()
    return total, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def first_step(settings: TrainConfig) -> list[Example]:
    lengths = [len(e.input_ids) for e in TRAIN]
    plan = epoch_plan(lengths, settings.micro_tokens, settings.batch_tokens, settings.seed, 0)
    return [TRAIN[i] for micro in plan[0] for i in micro]


@pytest.mark.parametrize("micro_tokens", [1, 50, 150])
@pytest.mark.parametrize("kind", ["LoRA", "full"])
def test_the_gradient_is_that_of_the_mean_over_the_whole_batch(kind, micro_tokens):
    """Eight micro-batches of one row or one of eight: the same gradient, transformers' own over the batch."""
    model = lora_model() if kind == "LoRA" else gpt_bigcode()
    fill_adapter(model)
    settings = config(micro_tokens=micro_tokens, steps=1)
    batch = first_step(settings)
    assert len(batch) >= 6 and len({len(e.input_ids) for e in batch}) > 2
    loss, expected = their_gradients(deepcopy(model), batch)
    (seen,) = gradients_of(model, lambda: finetune(model, TRAIN, HELD_OUT, settings))
    assert_close(seen, expected)
    again = lora_model() if kind == "LoRA" else gpt_bigcode()
    fill_adapter(again)
    assert finetune(again, TRAIN, HELD_OUT, settings).losses == [pytest.approx(loss, rel=1e-5)]


@pytest.mark.seconds
def test_the_loss_falls_and_the_base_stays_bit_identical():
    model = lora_model()
    before, base_loss = values(model), answer_loss(model, HELD_OUT).loss
    history = finetune(model, TRAIN, HELD_OUT, config(steps=40))
    assert history.held_out[0] == (0, base_loss)  # exactly: the adapted model starts as the base
    assert history.held_out[1] == (40, answer_loss(model, HELD_OUT).loss)
    assert history.held_out[1][1] < 0.8 * base_loss and history.losses[-1] < 0.75 * history.losses[0]
    factors = {f"{n}.{f}" for n, _ in lora_layers(model) for f in "AB"}
    assert set(differing(before, values(model))) == factors
    assert history.stopped == "finished" and not model.training
    epoch = len(epoch_plan([len(e.input_ids) for e in TRAIN], 50, 150, 0, 0))
    assert sum(s.tokens for s in history.steps[:epoch]) == sum(len(e.input_ids) for e in TRAIN)
    assert sum(s.label_tokens for s in history.steps[:epoch]) == sum(e.label_tokens for e in TRAIN)


def test_how_long_a_run_is():
    first, second = (len(epoch_plan([len(e.input_ids) for e in TRAIN], 50, 150, 0, epoch)) for epoch in (0, 1))
    lengths = [
        ({"steps": None}, first),
        ({"steps": None, "epochs": 2}, first + second),
        ({"steps": 2, "epochs": 5}, 2),
    ]
    for changes, expected in lengths:
        assert len(finetune(lora_model(), TRAIN, HELD_OUT, config(**changes)).steps) == expected


@pytest.mark.seconds
def test_three_epochs_train_on_every_example_three_times_whatever_the_seed(monkeypatch):
    """120 ragged examples, whose epochs differ by a step; the schedule and the bar know the real end."""
    examples, counts = rows(120), set()
    lengths = [len(e.input_ids) for e in examples]
    bar, totals = train_module.progress_bar, []
    monkeypatch.setattr(train_module, "progress_bar", lambda total, *rest: totals.append(total) or bar(total, *rest))
    for seed in (0, 5):
        taken: list[int] = []

        def noting(batch: list[Example], taken=taken) -> Batch:
            taken.extend(e.question_id for e in batch)
            return collate(batch)

        settings = config(steps=None, epochs=3, seed=seed, batch_tokens=40, micro_tokens=40)
        history = finetune(lora_model(), examples, HELD_OUT, settings, collate=noting)
        ends = [len(epoch_plan(lengths, 40, 40, seed, epoch)) for epoch in range(3)]
        counts |= set(ends)
        assert sorted(taken) == sorted([*range(120)] * 3)
        assert len(history.steps) == sum(ends) == totals[-1]
        last = settings.lr * schedule(1 - 0.5 / sum(ends), settings.warmup)
        assert history.steps[-1].lr == pytest.approx(last)
    assert len(counts) > 1


def test_batches_of_ones_own_are_trained_on_and_recorded_and_the_held_out_loss_keeps_its_labels(tmp_path):
    """All labels masked, as by a template that is never found: nothing is learned, and `run.json` tells why."""

    def masked(examples: list[Example]) -> Batch:
        batch = collate(examples)
        return Batch(batch.input_ids, batch.label_positions[:0], batch.labels[:0])

    model = lora_model()
    before = values(model)
    history = finetune(model, TRAIN, HELD_OUT, config(steps=2), output=tmp_path, collate=masked)
    assert history.losses == [0, 0] and differing(before, values(model)) == []
    assert [loss for _, loss in history.held_out] == [answer_loss(model, HELD_OUT).loss] * 2
    assert json.loads((tmp_path / "run.json").read_text())["labels"]["labels"] == 0


def test_the_held_out_loss_is_measured_as_often_as_asked(tmp_path):
    plain, watched, resumed = lora_model(dropout=0.2), lora_model(dropout=0.2), lora_model(dropout=0.2)
    expected = finetune(plain, TRAIN, HELD_OUT, config(steps=7))
    history = finetune(watched, TRAIN, HELD_OUT, config(steps=7, evaluate_every=3), output=tmp_path / "run")
    assert [step for step, _ in history.held_out] == [0, 3, 6, 7]
    assert (history.held_out[0], history.held_out[-1]) == tuple(expected.held_out)
    assert differing(values(plain), values(watched)) == []  # looking changes nothing
    short = finetune(lora_model(dropout=0.2), TRAIN, HELD_OUT, config(steps=3, evaluate_every=3))
    assert [step for step, _ in short.held_out] == [0, 3] and short.held_out[-1][1] != history.held_out[1][1]
    again = finetune(resumed, TRAIN, HELD_OUT, config(steps=7, evaluate_every=3), output=tmp_path / "run", resume=True)
    assert again.held_out == history.held_out


def test_leftover_gradients_do_not_enter_the_first_step():
    model, spoiled = lora_model(), lora_model()
    for _, p in trained(spoiled):
        p.grad = torch.full_like(p, float("nan"))
    for m in (model, spoiled):
        finetune(m, TRAIN, HELD_OUT, config(steps=2))
    assert differing(values(model), values(spoiled)) == []


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    finetune(lora_model(dropout=0.5), TRAIN, HELD_OUT, config())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]


def test_the_same_seed_gives_the_same_run_and_another_another():
    runs = [lora_model(dropout=0.3) for _ in range(3)]
    for model, seed in zip(runs, (0, 0, 1)):
        torch.rand(1)
        finetune(model, TRAIN, HELD_OUT, config(seed=seed))
    assert differing(values(runs[0]), values(runs[1])) == []
    assert differing(values(runs[0]), values(runs[2])) != []


def test_clipping_bounds_the_norm_and_the_history_has_it_unclipped():
    model = lora_model()
    histories = []
    seen = gradients_of(model, lambda: histories.append(finetune(model, TRAIN, HELD_OUT, config(steps=1, clip=0.01))))
    norm = torch.cat([g.flatten() for g in seen[0].values()]).norm()
    assert norm == pytest.approx(0.01, rel=1e-3) and histories[0].steps[0].grad_norm > 0.1


@pytest.mark.parametrize("kind", ["LoRA", "full"])
def test_activation_checkpointing_recomputes_and_changes_no_gradient(kind):
    def run(wanted: bool | None, model: nn.Module) -> tuple[int, dict[str, Tensor]]:
        passes = []
        hook = model.transformer.h[0].attn.register_forward_hook(lambda *_: passes.append(torch.is_grad_enabled()))
        settings = config(steps=1, activation_checkpointing=wanted)
        (seen,) = gradients_of(model, lambda: finetune(model, TRAIN, HELD_OUT, settings))
        hook.remove()
        return sum(passes), seen

    def fresh() -> nn.Module:
        model = lora_model() if kind == "LoRA" else gpt_bigcode()
        return model

    once, plain = run(False, fresh())
    model = fresh()
    twice, recomputed = run(True, model)
    assert twice == 2 * once > 0
    assert_close(recomputed, plain)
    if kind == "LoRA":  # at the first step only one factor of each layer has a gradient, and every one has
        for name, layer in lora_layers(model):
            moving = "B" if isinstance(layer, LoRALinear) else "A"
            assert recomputed[f"{name}.{moving}"].abs().max() > 0
    assert run(False, model)[0] == once  # switched off again
    assert run(None, fresh())[0] == once  # on a CPU, off is the default


def test_every_step_has_the_schedules_rate():
    history = finetune(lora_model(), TRAIN, HELD_OUT, config(steps=10, warmup=0.2))
    assert [s.lr for s in history.steps] == [pytest.approx(1e-2 * schedule((i + 0.5) / 10, 0.2)) for i in range(10)]


def test_lora_plus_gives_linear_b_its_own_rate():
    model, rates = lora_model(), {}
    names = {id(p): n for n, p in model.named_parameters()}

    def record(optimizer, args, kwargs):
        rates.update({names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]})

    handle = register_optimizer_step_pre_hook(record)
    settings = config(steps=1, warmup=0.0, lora_plus=16)
    finetune(model, TRAIN, HELD_OUT, settings)
    handle.remove()
    base = 1e-2 * schedule(0.5, 0.0)
    fast = {f"{n}.B" for n, layer in lora_layers(model) if isinstance(layer, LoRALinear)}
    assert rates == {n: pytest.approx(16 * base if n in fast else base) for n, _ in trained(model)}
    assert "transformer.wte.B" in rates.keys() - fast
    assert len(make_optimizer(model, trained(model), config()).param_groups) == 1


@pytest.mark.seconds
def test_minutes_end_the_run_in_time_with_the_rate_near_zero(monkeypatch):
    """A clock that moves with every forward pass, by one second at first."""
    clock = SimpleNamespace(now=1000.0, pass_seconds=1)
    monkeypatch.setattr(train_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    forward = AnswerLoss.forward

    def slow(*args):
        clock.now += clock.pass_seconds
        return forward(*args)

    monkeypatch.setattr(AnswerLoss, "forward", slow)
    for changes in ({"steps": None}, {"steps": 10_000}):
        began = clock.now
        history = finetune(lora_model(), TRAIN, HELD_OUT, config(minutes=2, warmup=0.1, **changes))
        assert 100 < clock.now - began <= 120
        rates = [s.lr for s in history.steps]
        assert max(rates) > 0.99e-2 and rates[-1] < 0.05e-2 and rates[0] < 0.1e-2
        assert history.stopped == "finished" and len(history.held_out) == 2
    assert len(finetune(lora_model(), TRAIN, HELD_OUT, config(minutes=60, steps=3)).steps) == 3
    clock.pass_seconds, began = 3, clock.now
    assert len(finetune(lora_model(), TRAIN, HELD_OUT, config(minutes=2, steps=None)).steps) < 20
    assert clock.now - began <= 120, "a run of few steps ends in time as well"
    assert seconds_for_steps(2, evaluation=10) + 2 * 10 == 2 * (60 - 3)  # a held-out loss before and one after


@pytest.mark.seconds
def test_minutes_count_what_was_spent_before_a_resume(monkeypatch, tmp_path):
    """A clock as above: stopped in the middle and resumed, a run of two minutes is no longer than in one piece."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(train_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    forward = AnswerLoss.forward

    def slow(*args):
        clock.now += 1
        return forward(*args)

    monkeypatch.setattr(AnswerLoss, "forward", slow)
    settings = config(minutes=2, steps=None, log_every=1)
    whole = finetune(lora_model(), TRAIN, HELD_OUT, settings)
    half = len(whole.steps) // 2
    finetune(lora_model(), TRAIN, HELD_OUT, settings, output=tmp_path, on_log=stop_at(half))
    clock.now += 10_000  # nobody pays for the pause
    history = finetune(lora_model(), TRAIN, HELD_OUT, settings, output=tmp_path, resume=True)
    assert abs(len(history.steps) - len(whole.steps)) <= 1


def test_a_run_is_the_only_writer_of_its_folder_from_its_first_file_to_its_last(tmp_path, monkeypatch):
    """A second one would drop the first one's checkpoints and its adapter."""
    held = []

    @contextlib.contextmanager
    def only_writer(folder):
        before = sorted(folder.iterdir())
        yield
        held.append((folder, before, sorted(p.name for p in folder.iterdir())))

    monkeypatch.setattr(run_folder, "only_writer", only_writer)
    finetune(lora_model(), TRAIN, HELD_OUT, config(steps=1), output=tmp_path)
    assert held == [(tmp_path, [], ["checkpoints", "history.json", "run.json"])]


def test_a_finished_run_holds_no_gradients():
    model = lora_model()
    finetune(model, TRAIN, HELD_OUT, config(steps=1))
    assert [name for name, p in model.named_parameters() if p.grad is not None] == []


def test_a_process_with_nothing_to_do_computes_an_example_and_counts_no_label(monkeypatch):
    """The second of two, where a step is one micro-batch: it must meet the first one's gradients all the same."""
    use(monkeypatch, OneOfMany, rank=1, world=2)
    model, batches, forward = lora_model(), [], AnswerLoss.forward

    def noting(self, *batch):
        if self.model.training:
            batches.append(batch)
        return forward(self, *batch)

    monkeypatch.setattr(AnswerLoss, "forward", noting)
    (seen,) = gradients_of(model, lambda: finetune(model, TRAIN, HELD_OUT, config(steps=1, micro_tokens=300)))
    ((ids, positions, labels),) = batches
    assert torch.equal(ids, collate([TRAIN[0]]).input_ids) and positions.shape == labels.shape == (0,)
    assert seen.keys() == {n for n, _ in trained(model)} and all(not g.any() for g in seen.values())


def test_accelerates_own_accumulation_divides_no_gradient(monkeypatch):
    """From the environment it would: ACCELERATE_GRADIENT_ACCUMULATION_STEPS=4 took the norm from 1.123 to 0.281."""
    expected = finetune(lora_model(), TRAIN, HELD_OUT, config(steps=1))
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    history = finetune(lora_model(), TRAIN, HELD_OUT, config(steps=1))
    assert history.steps[0].grad_norm == expected.steps[0].grad_norm > 0
