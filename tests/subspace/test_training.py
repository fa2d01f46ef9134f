"""Training in a subspace: its gradients against a dense P and `functional_call`, the loop, resuming, refusals."""

import signal
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from lorabook.errors import CheckpointError, SettingError
from lorabook.lora import LoRAConfig, apply_lora, lora_layers
from lorabook.memory.counter import StorageCounter
from lorabook.step.loss import AnswerLoss
from lorabook.subspace.fastfood import FastfoodProjection
from lorabook.subspace.training import Subspace, apply_subspace, remove_subspace, subspace_of
from lorabook.training.checkpoint import latest
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune
from tests.kit.families import VOCABULARY, gpt2, gpt_bigcode, token_ids
from tests.kit.runs import HELD_OUT, TRAIN, at_every_step, config, differing, values

M = 28  # parameter tensors of the tiny GPTBigCode, the tied head not counted again
METHODS = pytest.mark.parametrize("method", ["did", "said"])


def built(method: str = "did", d: int = 60, base: Any = gpt_bigcode, **changes: Any) -> nn.Module:
    model = base()
    apply_subspace(model, d, method, **changes)
    return model


def moved_away(subspace: Subspace, seed: int = 5) -> None:
    """Put random numbers in theta and lambdas, as after training, and write the parameters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, p in subspace.trained():
            p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype) * 0.3)
    subspace.write()


def dense_gradients(subspace: Subspace, model: nn.Module, ids: Tensor) -> list[Tensor]:
    """The oracle: autograd through theta0 + lambda * P theta with a dense P and `functional_call`."""
    trained = [p.detach().clone().requires_grad_() for _, p in subspace.trained()]
    P = subspace.projection(torch.eye(len(trained[0]), dtype=trained[0].dtype)).T.detach()
    up, parameters, at = P @ trained[0], {}, 0
    for i, (name, start) in enumerate(subspace.theta0.items()):
        scale = trained[1][i] if len(trained) > 1 else 1.0
        parameters[name] = start + scale * up[at : at + start.numel()].view_as(start)
        at += start.numel()
    loss = functional_call(model, parameters, (ids,), {"labels": ids}).loss
    return list(torch.autograd.grad(loss, trained))


def recorded(run) -> list[list[Tensor]]:
    """The gradients that the optimizer was given at every step of `run`."""
    return at_every_step(run, lambda o: [p.grad.clone() for group in o.param_groups for p in group["params"]])


# The subspace itself


@METHODS
@pytest.mark.parametrize("projection", ["fastfood", "dense"])
@pytest.mark.parametrize("base", [gpt_bigcode, gpt2], ids=["GPTBigCode", "GPT-2"])
def test_gradients_are_those_of_a_dense_p(base, projection, method):
    """In fp64, away from the start, over two micro-batches, with the head tied to the embedding."""
    model = base().double()
    subspace = apply_subspace(model, 40, method, seed=3, projection=projection)
    moved_away(subspace)
    halves = [token_ids(), token_ids(seed=2)]
    for ids in halves:
        model(ids, labels=ids).loss.backward()
    for _, p in subspace.trained():
        p.grad = torch.full_like(p, float("nan"))  # of an earlier step: replaced, not added to
    subspace.pull()
    expected = [sum(pair) for pair in zip(*(dense_gradients(subspace, deepcopy(model), ids) for ids in halves))]
    assert len(expected) == (2 if method == "said" else 1)
    for (_, p), theirs in zip(subspace.trained(), expected, strict=True):
        assert theirs.abs().max() > 1e-3
        torch.testing.assert_close(p.grad, theirs, rtol=1e-9, atol=1e-11)
    assert all(p.grad is None for p in model.parameters())


@METHODS
def test_d_counts_all_that_is_trained_and_big_d_each_tensor_once(method):
    model = built(method, d=60, seed=7)
    subspace = subspace_of(model)
    assert sum(p.numel() for _, p in subspace.trained()) == subspace.d == 60
    assert sum(p.numel() for p in model.parameters()) == subspace.D and len(subspace.moved) == M
    assert model.lm_head.weight is model.transformer.wte.weight
    again = FastfoodProjection(len(subspace.theta), subspace.D, seed=7)  # all that must be known to rebuild it
    assert torch.equal(again(torch.ones(again.d)), subspace.projection(torch.ones(again.d)))
    assert subspace.theta.abs().max() == 0
    if method == "said":
        assert torch.equal(subspace.lambdas, torch.ones(M)) and len(subspace.theta) == 60 - M
    assert set(model.state_dict()) == set(gpt_bigcode().state_dict())


@METHODS
def test_it_starts_where_the_model_stands_and_restores_it_bit_for_bit(method):
    model, untouched = built(method), values(gpt_bigcode())
    assert differing(untouched, values(model)) == []
    subspace_of(model).write()
    assert differing(untouched, values(model)) == []
    moved_away(subspace_of(model))
    moved = values(model)
    assert set(differing(untouched, moved)) == set(moved)
    kept = deepcopy(model)
    remove_subspace(model)
    assert differing(untouched, values(model)) == [] and subspace_of(model) is None
    assert model.lm_head.weight is model.transformer.wte.weight
    remove_subspace(kept, restore=False)
    assert differing(moved, values(kept)) == []


def test_a_step_of_one_in_theta_is_a_step_of_one_in_all_parameters():
    model = built("said", d=M + 5)
    subspace = subspace_of(model)
    with torch.no_grad():
        subspace.theta[2] = 1.0
    subspace.write()
    steps = [(p.detach() - subspace.theta0[name]).norm() for name, p in model.named_parameters()]
    assert torch.stack(steps).norm() == pytest.approx(1, abs=0.02)


def test_what_is_frozen_does_not_move():
    model = gpt_bigcode()
    apply_lora(model, LoRAConfig(r=2, alpha=4))
    factors = {f"{n}.{f}" for n, _ in lora_layers(model) for f in "AB"}
    before, subspace = values(model), apply_subspace(model, 10)
    assert sum(before[n].numel() for n in factors) == subspace.D
    finetune(model, TRAIN, HELD_OUT, config())
    assert set(differing(before, values(model))) == factors


@METHODS
def test_a_parameter_without_a_gradient_counts_as_zero(method):
    """As of a layer that this batch did not use: the others' gradients still count."""
    with_zero, without = built(method, d=60), built(method, d=60)
    for model in (with_zero, without):
        moved_away(subspace_of(model))
        model(token_ids(), labels=token_ids()).loss.backward()
    name = next(iter(subspace_of(without).moved))
    subspace_of(with_zero).moved[name].grad.zero_()
    subspace_of(without).moved[name].grad = None
    for model in (with_zero, without):
        subspace_of(model).pull()
    pairs = zip(subspace_of(with_zero).trained(), subspace_of(without).trained(), strict=True)
    assert all(torch.equal(p.grad, q.grad) and p.grad.any() for (_, p), (_, q) in pairs)
    with pytest.raises(SettingError, match="No parameter of the model has a gradient"):
        subspace_of(without).pull()


def test_taking_the_subspace_out_leaves_no_gradient():
    model = built("did", d=60)
    model(token_ids(), labels=token_ids()).loss.backward()
    remove_subspace(model)
    assert all(p.grad is None for p in model.parameters())


@METHODS
def test_it_lies_on_the_device_of_the_model(method):
    """The meta device stands for any other than the CPU."""
    model = gpt_bigcode().to("meta")
    subspace = apply_subspace(model, 60, method)
    subspace.write()
    for p in subspace.moved.values():
        p.grad = torch.zeros_like(p)
    subspace.pull()
    held = [*subspace.theta0.values(), *subspace.projection.buffers(), *(p for _, p in subspace.trained())]
    held += [p.grad for _, p in subspace.trained() if p.grad is not None]
    assert len(held) == len(subspace.moved) + 4 + 2 * len(subspace.trained()) and {t.device.type for t in held} == {
        "meta"
    }


def test_memory_grows_with_big_d_and_not_with_small_d():
    peaks = []
    for d in (100, 10_000):
        model = built("said", d=d, base=lambda: nn.ModuleList(nn.Linear(64, 64) for _ in range(40)))
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        with StorageCounter(p.grad for p in model.parameters()) as counter:
            subspace_of(model).pull()
            subspace_of(model).write()
        peaks.append(counter.peak)
        assert subspace_of(model).D == 166_400
    assert max(peaks) < 4 * 2**18 * 8 and peaks[1] < 1.2 * peaks[0]  # eight vectors of length L; a dense P has 10,000


# The loop


@METHODS
def test_the_loop_gives_the_optimizer_the_gradient_of_the_whole_batch(method):
    """Whatever the micro-batch, and with activations recomputed: the same gradients at both of two steps."""
    runs = {}
    for name, changes in {
        "whole": {"micro_tokens": 150},
        "pieces": {"micro_tokens": 1},
        "recomputed": {"micro_tokens": 150, "activation_checkpointing": True},
    }.items():
        model = built(method)
        runs[name] = recorded(lambda m=model, c=changes: finetune(m, TRAIN, HELD_OUT, config(steps=2, **c)))
        assert len(runs[name]) == 2 and runs[name][1][-1].abs().max() > 0
    for other in ("pieces", "recomputed"):
        for mine, theirs in zip(runs[other], runs["whole"], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@METHODS
def test_the_loss_falls_by_d_numbers_alone(method):
    model = built(method, d=200)
    history = finetune(model, TRAIN, HELD_OUT, config(steps=30, lr=5e-2))
    assert history.losses[-1] < 0.9 * history.losses[0]
    assert history.held_out[0][1] == answer_loss(gpt_bigcode(), HELD_OUT).loss
    assert history.held_out[1] == (30, answer_loss(model, HELD_OUT).loss)
    subspace, before = subspace_of(model), values(model)
    assert subspace.theta.abs().min() > 0
    subspace.write()
    assert differing(before, values(model)) == []  # what was measured is theta0 + P theta
    if method == "said":
        assert (subspace.lambdas - 1).abs().min() > 0


@pytest.mark.seconds
def test_memory_that_runs_out_leaves_nothing_behind(monkeypatch):
    expected = recorded(lambda: finetune(built(), TRAIN, HELD_OUT, config(steps=1, micro_tokens=150)))
    forward, calls = AnswerLoss.forward, []

    def limited(self, input_ids, *args):
        if torch.is_grad_enabled():
            calls.append(len(input_ids))
            if len(calls) == 2:
                raise torch.OutOfMemoryError("out of memory")
        return forward(self, input_ids, *args)

    monkeypatch.setattr(AnswerLoss, "forward", limited)
    seen = recorded(lambda: finetune(built(), TRAIN, HELD_OUT, config(steps=1, micro_tokens=50)))
    torch.testing.assert_close(seen[0][0], expected[0][0], rtol=1e-4, atol=1e-5)


@METHODS
def test_six_steps_are_three_and_three_more(method, tmp_path):
    settings = config(log_every=1, steps=6, clip=0.5)
    whole = built(method)
    expected = finetune(whole, TRAIN, HELD_OUT, settings, output=tmp_path / "whole")

    def stop(history) -> None:
        if len(history.steps) == 3:
            signal.raise_signal(signal.SIGINT)

    first = built(method)
    assert len(finetune(first, TRAIN, HELD_OUT, settings, output=tmp_path / "parts", on_log=stop).steps) == 3
    for second in (built(method), first):  # in a fresh model, and in the one that was interrupted
        history = finetune(second, TRAIN, HELD_OUT, settings, output=tmp_path / "parts", resume=True)
        assert history.losses == expected.losses and history.held_out == expected.held_out
        assert differing(values(whole), values(second)) == []
    tensors = latest(tmp_path / "parts" / "checkpoints").tensors
    named = [name for name, _ in subspace_of(whole).trained()]
    assert {k for k in tensors if k.startswith("model.")} == {f"model.{n}" for n in named}
    assert sum(t.numel() for k, t in tensors.items() if not k.startswith("rng")) == 3 * 60 + len(named)


OTHER = {
    "subspace": lambda: built(seed=1),
    "frozen weights": lambda: built(base=lambda: gpt_bigcode(seed=1)),
    "trained parameters": lambda: built(d=61),
    "subspace and trained parameters": gpt_bigcode,
}


@pytest.mark.parametrize("name", OTHER)
def test_a_checkpoint_of_another_subspace_is_refused(name, tmp_path):
    finetune(built(), TRAIN, HELD_OUT, config(), output=tmp_path)
    with pytest.raises(CheckpointError, match=f"of another run, with other .*{name}"):
        finetune(OTHER[name](), TRAIN, HELD_OUT, config(), output=tmp_path, resume=True)


# Refusals


def test_settings_that_cannot_be_used_are_refused():
    D = sum(p.numel() for p in gpt_bigcode().parameters())
    for method, least in (("did", 1), ("said", M + 1)):
        apply_subspace(gpt_bigcode(), least, method)
        apply_subspace(gpt_bigcode(), D, method)
        for wrong in (least - 1, D + 1, 2.5, True):
            with pytest.raises(SettingError, match=rf"The dimension d is .*from {least} to D = {D:,}"):
                apply_subspace(gpt_bigcode(), wrong, method)
    frozen = gpt_bigcode().requires_grad_(False)
    half = gpt_bigcode().half()
    for model, arguments, words in (
        (built(), {}, "already has a subspace"),
        (frozen, {}, "No parameter of this model requires a gradient"),
        (half, {}, "The parameters are float16 on cpu"),
        (gpt_bigcode(), {"method": "DID"}, "The method is 'DID'. Choose among did, said"),
        (gpt_bigcode(), {"projection": "sparse"}, "Choose among fastfood, dense"),
    ):
        with pytest.raises(SettingError, match=words):
            apply_subspace(model, 5, **arguments)
    with pytest.raises(SettingError, match="has no subspace"):
        remove_subspace(gpt_bigcode())
    with pytest.raises(SettingError, match="Call backward"):
        subspace_of(built()).pull()
    elsewhere = subspace_of(built())
    elsewhere.theta = nn.Parameter(elsewhere.theta.to("meta"))
    with pytest.raises(SettingError, match="is on cpu, its subspace on meta"):
        elsewhere.write()


def test_writing_between_forward_and_backward_is_an_error_not_a_wrong_gradient():
    model = built()
    ids = token_ids(below=VOCABULARY)
    loss = model(ids, labels=ids).loss
    subspace_of(model).write()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
