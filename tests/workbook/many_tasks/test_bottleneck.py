"""Bottleneck adapters: counts by hand, plain PyTorch with the same numbers, training, the base again, refusals."""

import signal
from copy import deepcopy
from typing import Any

import pytest
import torch
from scipy.stats import truncnorm
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GPTNeoXConfig, PreTrainedModel

from lorabook.errors import SettingError
from lorabook.lora import LoRAConfig, apply_lora
from lorabook.step.gradients import set_activation_checkpointing
from lorabook.subspace.training import apply_subspace
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune
from lorabook.workbook.many_tasks.bottleneck import (
    Bottleneck,
    BottleneckConfig,
    apply_bottleneck,
    remove_bottleneck,
    trained_parameters,
    width_for,
)
from tests.kit.families import MODELS, WIDTH, gpt_bigcode, gradients, logits, token_ids
from tests.kit.runs import HELD_OUT, TRAIN, assert_close, config, differing, values
from tests.kit.untouched import assert_untouched, snapshot

M, BLOCKS = 4, 2
FAMILIES = pytest.mark.parametrize("family", MODELS)
HALVES = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])


def built(family: str = "GPTBigCode", seed: int | None = None, **changes: Any) -> PreTrainedModel:
    """A tiny model with adapters; with a `seed`, random numbers are added to all that is trained."""
    model = MODELS[family](**changes)
    apply_bottleneck(model, BottleneckConfig(m=M))
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in trained(model).values():
                p.add_(torch.randn(p.shape, generator=generator) * 0.2)
    return model


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


# Counts


@FAMILIES
def test_counts_are_those_of_the_formula_and_of_the_tensors(family):
    model = MODELS[family]()
    base = sum(p.numel() for p in model.parameters())
    report = apply_bottleneck(model, BottleneckConfig(m=M))
    llama = family == "Llama"
    assert report.adapters == 2 * BLOCKS * (2 * M * WIDTH + WIDTH + M)
    assert report.norms == (2 * BLOCKS + 1) * WIDTH * (1 if llama else 2)  # RMSNorm has no bias
    assert report.trainable == report.adapters + report.norms == sum(p.numel() for p in trained(model).values())
    assert report.trainable == trained_parameters(M, WIDTH, BLOCKS, report.norms)
    assert width_for(report.trainable, WIDTH, BLOCKS, report.norms) == M
    assert report.total == base + report.adapters == sum(p.numel() for p in model.parameters())
    ends = ["self_attn.o_proj", "mlp.down_proj"] if llama else ["attn.c_proj", "mlp.c_proj"]
    assert [".".join(m.name.split(".")[-2:]) for m in report.modules] == BLOCKS * ends
    assert [m.shape for m in report.modules] == BLOCKS * [(WIDTH, WIDTH), (WIDTH, 48 if llama else 4 * WIDTH)]
    assert f"in adapters: {report.adapters:,}, in norms: {report.norms:,}" in str(report)


def test_an_adapter_of_width_768_has_the_count_given_for_bert():
    layer = Bottleneck(nn.Linear(3072, 768), BottleneckConfig(m=64))
    assert sum(p.numel() for p in trained(layer).values()) == 99_136


# What is computed


def in_plain_pytorch(family: str, model: nn.Module) -> PreTrainedModel:
    """The oracle: hooks on whole branches, attention and MLP, add what torch's own layers make of the output.

    Trained tensors stand in the same order as in `model`, whose values they get.
    """
    plain = MODELS[family]().requires_grad_(False)
    for name, module in list(plain.named_modules()):
        if name.endswith((".attn", ".self_attn", ".mlp")):
            module.network = nn.Sequential(nn.Linear(WIDTH, M), nn.GELU("tanh"), nn.Linear(M, WIDTH))
            module.register_forward_hook(through_network)
        elif "norm" in name or "ln_" in name:
            module.requires_grad_()
    with torch.no_grad():
        for p, q in zip(trained(plain).values(), trained(model).values(), strict=True):
            assert p.shape == q.shape
            p.copy_(q)
    return plain


def through_network(branch: Any, inputs: Any, output: Any) -> Any:
    if isinstance(output, tuple):  # attention gives its weights too
        return output[0] + branch.network(output[0]), *output[1:]
    return output + branch.network(output)


@FAMILIES
def test_forward_and_gradients_are_those_of_plain_pytorch(family):
    model = built(family, seed=3)
    plain = in_plain_pytorch(family, model)
    assert (logits(model) - logits(MODELS[family]())).abs().max() > 0.1
    torch.testing.assert_close(logits(model), logits(plain), rtol=1e-6, atol=1e-6)
    mine, theirs = gradients(model, token_ids()), gradients(plain, token_ids())
    assert_close(mine, dict(zip(mine, theirs.values(), strict=True)))


@FAMILIES
def test_recomputed_activations_give_the_same_gradients(family):
    model = built(family, seed=3).train()
    expected = gradients(model, token_ids())
    calls: list[nn.Module] = []
    for layer in (m for m in model.modules() if isinstance(m, Bottleneck)):
        layer.register_forward_pre_hook(lambda module, _: calls.append(module))
    set_activation_checkpointing(model, True, torch.device("cpu"))
    found = gradients(model, token_ids())
    assert len(calls) == 2 * len(set(calls)) == 2 * 2 * BLOCKS
    assert found.keys() == trained(model).keys() and all(g.any() for g in found.values())
    assert_close(found, expected, tolerance=0)


def test_gradcheck():
    layer = Bottleneck(nn.Linear(5, 6), BottleneckConfig(m=3, std=1.0)).double()
    x = torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    names, parameters = zip(*trained(layer).items())

    def run(x: Tensor, *numbers: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, numbers)), (x,))

    assert len(names) == 4 and torch.autograd.gradcheck(run, (x, *parameters))


def test_the_model_s_dropout_comes_after_the_adapter():
    model = built(seed=3, resid_pdrop=0.5)
    mlp, x = model.transformer.h[0].mlp, torch.randn(200, WIDTH)
    whole = mlp(x)
    dropped = mlp.train()(x)
    kept = dropped != 0
    assert 0.4 < kept.float().mean() < 0.6
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])


# The start


@FAMILIES
def test_it_starts_near_the_base_and_not_equal_to_it(family):
    distance = (logits(built(family)) - logits(MODELS[family]())).abs().max()
    assert 0 < distance < 1e-3 * logits(MODELS[family]()).std()


def test_weights_are_a_normal_cut_at_two_deviations_and_biases_zero():
    layer = Bottleneck(nn.Linear(400, 400), BottleneckConfig(m=100))
    for weight in (layer.W_down, layer.W_up):
        assert 1.99e-3 < weight.abs().max() <= 2e-3
        assert weight.std().item() == pytest.approx(1e-3 * truncnorm.std(-2, 2), rel=0.02)
        assert abs(weight.mean().item()) < 3e-5
    assert not layer.b_down.any() and not layer.b_up.any() and not torch.equal(layer.W_down, layer.W_up.T)


def test_the_seed_alone_decides_and_the_global_generator_rests():
    before, drawn = torch.get_rng_state(), []
    for seed in (5, 5, 6):
        model = gpt_bigcode()
        apply_bottleneck(model, BottleneckConfig(m=M, seed=seed))
        drawn.append(values(model))
    assert torch.equal(torch.get_rng_state(), before)
    assert differing(drawn[0], drawn[1]) == []
    assert differing(drawn[0], drawn[2]) == [name for name in drawn[0] if ".W_" in name]


@pytest.mark.parametrize("mode", [True, False])
def test_new_layers_take_the_mode_of_their_host(mode):
    model = gpt_bigcode().train(mode)
    apply_bottleneck(model, BottleneckConfig(m=M))
    assert {module.training for module in model.modules()} == {mode}


# Training, and the base again


@FAMILIES
def test_the_loss_falls_by_adapters_and_norms_alone(family):
    model = built(family)
    before, names = values(model), set(trained(model))
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    history = finetune(model, TRAIN, HELD_OUT, config(steps=30))
    assert history.held_out[1][1] < history.held_out[0][1] - 0.1
    assert history.held_out[1] == (30, pytest.approx(answer_loss(model, HELD_OUT).loss, rel=1e-5))
    assert set(differing(before, values(model))) == names
    assert tied == (family != "Llama") == (model.get_output_embeddings().weight is model.get_input_embeddings().weight)


def test_four_steps_are_two_and_two_more(tmp_path):
    def stop(history) -> None:
        if len(history.steps) == 2:
            signal.raise_signal(signal.SIGINT)

    whole, first, second = built(), built(), built()
    expected = finetune(whole, TRAIN, HELD_OUT, config())
    finetune(first, TRAIN, HELD_OUT, config(log_every=1), output=tmp_path, on_log=stop)
    history = finetune(second, TRAIN, HELD_OUT, config(), output=tmp_path, resume=True)
    assert history.losses == expected.losses and history.held_out == expected.held_out
    assert differing(values(whole), values(second)) == []


@FAMILIES
def test_what_is_left_after_removal_is_the_base(family):
    model = MODELS[family]().requires_grad_(False)
    before = snapshot(model)
    apply_bottleneck(model, BottleneckConfig(m=M))
    finetune(model, TRAIN, HELD_OUT, config())
    moved = deepcopy(model)
    remove_bottleneck(model)
    assert_untouched(model, before)
    assert logits(moved).ne(logits(model)).any()
    remove_bottleneck(moved)
    assert torch.equal(logits(moved), logits(MODELS[family]()))


@pytest.mark.seconds
@HALVES
@FAMILIES
def test_of_a_16_bit_base_only_the_norms_become_fp32(family, dtype):
    model = MODELS[family]().to(dtype).requires_grad_(False)
    before, expected = snapshot(model), logits(model)
    apply_bottleneck(model, BottleneckConfig(m=M))
    assert {p.dtype for p in trained(model).values()} == {torch.float32}
    frozen = [p for p in model.parameters() if not p.requires_grad]
    assert {p.dtype for p in frozen} == {model(token_ids()).logits.dtype} == {dtype}
    error = (logits(model) - expected).norm() / expected.norm()
    assert error < 4 * torch.finfo(dtype).eps
    history = finetune(model, TRAIN, HELD_OUT, config(steps=20))
    assert history.held_out[1][1] < history.held_out[0][1] - 0.1
    remove_bottleneck(model)
    assert_untouched(model, before)


# Refusals


def other_family() -> PreTrainedModel:
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 64}
    return AutoModelForCausalLM.from_config(GPTNeoXConfig(hidden_size=16, **sizes))


def with_lora() -> nn.Module:
    model = gpt_bigcode()
    apply_lora(model, LoRAConfig(r=2))
    return model


def with_subspace() -> nn.Module:
    model = gpt_bigcode()
    apply_subspace(model, 5)
    return model


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (built, "already has bottleneck adapters. Call remove_bottleneck"),
        (with_lora, "has LoRA layers. Call remove"),
        (with_subspace, "has a subspace. Call remove_subspace"),
        (other_family, "blocks of GPTNeoXForCausalLM are not known. .*attn.c_proj and mlp.c_proj or self_attn.o_proj"),
    ],
)
def test_a_model_that_is_refused_stays_as_it_was(make, words):
    model = make()
    before = snapshot(model)
    with pytest.raises(SettingError, match=words):
        apply_bottleneck(model, BottleneckConfig())
    assert_untouched(model, before)


def test_settings_that_cannot_be_used_are_refused():
    for changes, words in (
        ({"m": 0}, "The width m is 0"),
        ({"m": 2.0}, "The width m is 2.0"),
        ({"m": True}, "The width m is True"),
        ({"std": 0}, "std is 0"),
        ({"std": float("nan")}, "std is nan"),
        ({"std": float("inf")}, "std is inf"),
    ):
        with pytest.raises(SettingError, match=words):
            BottleneckConfig(**changes)
    with pytest.raises(SettingError, match="has no bottleneck adapters"):
        remove_bottleneck(gpt_bigcode())
