"""What a dry run sees of a plan, against the same step on real tensors, and what it must not do.

Families, attention and checkpointing are in test_estimate.py, where estimate, dry run and real step stand side by side.
"""

import contextlib
import resource
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from transformers import GPTBigCodeConfig

from lorabook.errors import SettingError
from lorabook.lora import LoRAConfig
from lorabook.memory.autocast import TO_FP32, GpuArithmetic
from lorabook.memory.dry_run import dry_run, measure
from lorabook.memory.plan import Plan
from tests.kit.families import IDS, NO_DROPOUT

SIZES = {"n_positions": 256, "n_embd": 64, "n_layer": 3, "n_head": 4}
CONFIG = GPTBigCodeConfig(**(IDS | SIZES | NO_DROPOUT | {"vocab_size": 500}))
LORA = LoRAConfig(r=4, alpha=8)


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("method", "changes"),
    [
        (LORA, {"loss": "plain"}),
        (1.0, {"loss": "plain"}),
        (1.0, {"optimizer": "sgd"}),
        (LORA, {"labels": 10}),
        (LORA, {"method": replace(LORA, dropout=0.1)}),
        (LORA, {"model_dropout": 0.1, "attention": "math"}),
    ],
    ids=lambda value: "LoRA" if value == LORA else str(value),
)
def test_what_a_plan_says_is_run(method, changes):
    usual = Plan(method, 2, 64, "fp32")
    plan = replace(usual, **changes)
    dry, real = dry_run(CONFIG, plan), measure(CONFIG, plan, "cpu")
    assert (dry.peak, dry.after_forward) == (real.peak, real.after_forward)
    before = dry_run(CONFIG, usual)
    assert (dry.peak, dry.after_forward) != (before.peak, before.after_forward)


@pytest.mark.parametrize(("method", "checkpointing"), [(LORA, False), (LORA, True), (1.0, True)])
def test_casting_is_that_of_autocast(method, checkpointing, monkeypatch):
    """On the CPU, under the CPU's rules, the imitated casts hold what PyTorch's own autocast holds."""
    import lorabook.memory.dry_run as module

    class CpuRules(GpuArithmetic):
        """The CPU's autocast leaves layer norms, softmax and losses alone."""

        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func in TO_FP32 or func is torch.nn.functional.dropout:
                return func(*args, **(kwargs or {}))
            return super().__torch_function__(func, types, args, kwargs)

    class Real(contextlib.ExitStack):
        """PyTorch's, which `finetune` leaves before the backward pass; recomputation enters it again by itself."""

        def __init__(self, dtype):
            super().__init__()
            self.begin_forward = lambda: self.enter_context(torch.autocast("cpu", dtype))
            self.end_forward = self.close

    plan = Plan(method, 2, 96, "bf16", checkpointing=checkpointing)
    monkeypatch.setattr(module, "GpuArithmetic", CpuRules)
    imitated = measure(CONFIG, plan, "cpu")
    monkeypatch.setattr(module, "GpuArithmetic", Real)
    real = measure(CONFIG, plan, "cpu")
    assert imitated.after_forward - imitated.static == pytest.approx(real.after_forward - real.static, rel=0.02)
    assert imitated.peak - imitated.static == pytest.approx(real.peak - real.static, rel=0.05)


def test_gpu_arithmetic_casts_by_pytorch_s_list():
    x, w = torch.ones(2, 8, dtype=torch.float16), torch.ones(8, 8)
    with GpuArithmetic(torch.float16):
        assert torch.nn.functional.linear(x, w).dtype == (x @ w).dtype == torch.float16
        assert torch.nn.functional.layer_norm(x, (8,)).dtype == torch.softmax(x, -1).dtype == torch.float32
        assert (x + w[:2]).dtype == torch.float32  # no rule: ordinary promotion
        assert torch.matmul(w.double(), w.double()).dtype == torch.float64  # fp64 is left alone
        dropped = torch.nn.functional.dropout(w, 0.5)
        assert set(dropped.unique().tolist()) <= {0.0, 2.0}
        assert torch.equal(torch.nn.functional.dropout(w, 0.5, training=False), w)


@pytest.mark.seconds
def test_with_16_bit_weights_the_forward_pass_keeps_less():
    half, full = (dry_run(CONFIG, Plan(LORA, 2, 96, w)) for w in ("fp16", "fp32"))
    assert half.static < full.static
    kept, kept_full = (m.after_forward - m.static for m in (half, full))
    assert 0.5 * kept_full < kept < 0.75 * kept_full  # layer norms stay in fp32
    assert half.path == "meta, fused attention, fp16 autocast"


@pytest.mark.seconds
def test_dropout_on_a_gpu_keeps_one_byte_an_element():
    """The fp16 input of an adapted layer is kept either way; dropout adds its mask.

    The first layer's input needs no gradient, so that its mask is not kept. Attention's output is kept by attention
    itself, and dropped, a second time.
    """
    tokens, width, inner, layers = 2 * 96, 64, 256, 3
    plain, dropped = (dry_run(CONFIG, Plan(LoRAConfig(4, 8, p), 2, 96)) for p in (0.0, 0.1))
    more = dropped.after_forward - plain.after_forward
    elements = tokens * (3 * width + inner) * layers  # inputs of c_attn, c_proj, c_fc, and c_proj of the MLP
    assert more == elements - tokens * width + 2 * tokens * width * layers


@pytest.mark.seconds
def test_alpha_moves_no_byte_and_the_rank_moves_few():
    def peak(r: int, alpha: float) -> int:
        return dry_run(CONFIG, Plan(LoRAConfig(r, alpha), 2, 96)).peak

    assert peak(4, 1) == peak(4, 64)
    assert 1 < peak(8, 8) / peak(4, 8) < 1.2


@pytest.mark.slow
def test_a_billion_parameters_allocate_next_to_nothing():
    code = """
import contextlib
import resource
from lorabook import LoRAConfig
from lorabook.memory.plan import Plan
from lorabook.memory.dry_run import dry_run
dry_run("pocket", Plan(LoRAConfig(), 2, 64))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
done = dry_run("bigcode/starcoderbase-1b", Plan(LoRAConfig(16, 32), 4, 512))
assert done.peak > 4 * 2**30, done
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(run.stdout) * unit < 100 * 2**20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0


def test_a_plan_that_cannot_be_run_is_refused():
    refused = {
        "A step with nf4 cannot be run here": {"weights": "nf4"},
        "A step with adamw8bit cannot be run here": {"optimizer": "adamw8bit"},
        "does not say which parameters are trained": {"method": 0.1},
        "batch is 0": {"batch": 0},
        "sequence is 1.5": {"sequence": 1.5},
        "Choose among fused, math, eager": {"attention": "flash"},
        "The share trained is 0.0": {"method": 0.0},
        "labels is 10000": {"labels": 10_000},
        "513 tokens does not fit.*512 positions": {"sequence": 513},
    }
    for message, changes in refused.items():
        with pytest.raises(SettingError, match=message):
            dry_run("pocket", Plan(**changes))
    with pytest.raises(SettingError, match="transformers has no such model"):
        dry_run("GPT-3 175B", Plan())


def test_the_configuration_and_the_random_state_are_left_alone():
    config = CONFIG
    before, state = config.to_dict(), torch.get_rng_state()
    dry_run(config, Plan(LORA, 1, 32))
    measure(config, Plan(LORA, 1, 32, "fp32"), "cpu")
    assert config.to_dict() == before and torch.equal(torch.get_rng_state(), state)


def test_the_timeline_holds_the_peak_and_ends_where_the_next_step_begins():
    run = dry_run("pocket", Plan(1.0, batch=2, sequence=64))
    assert list(run.timeline) == ["forward", "backward", "optimizer"]
    assert max(max(live) for live in run.timeline.values()) == run.peak
    assert run.static < run.after_forward < run.peak
    moments = 2 * 4 * run.trainable
    assert run.timeline["optimizer"][-1] - run.static == pytest.approx(moments, rel=0.01)  # no gradient, no activation
    gradients = run.timeline["backward"][-1] - run.static - moments
    assert gradients == pytest.approx(4 * run.trainable, rel=0.01)
