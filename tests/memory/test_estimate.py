"""The estimate against real steps: tensors as they are, the counter on the CPU, the dry run, and PyTorch's profiler."""

import inspect
import itertools
import json

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, GPT2Config, GPTBigCodeConfig, LlamaConfig, Starcoder2Config

from lorabook.data.batches import Batch
from lorabook.errors import SettingError
from lorabook.kernels import faster
from lorabook.lora import LoRAConfig, apply_lora
from lorabook.memory.dry_run import DryRun, dry_run, measure
from lorabook.memory.estimate import Estimate, estimate
from lorabook.memory.families import shape_of
from lorabook.memory.plan import Plan
from lorabook.models.precision import DTYPES
from lorabook.step.config import TrainConfig
from lorabook.step.gradients import set_activation_checkpointing
from lorabook.step.loss import AnswerLoss
from lorabook.step.optimizer import make_optimizer, trained
from tests.kit.families import GPT_SIZES, IDS, LLAMA_SIZES, NO_DROPOUT

MORE = {"vocab_size": 512}
GPT = GPT_SIZES | {"n_embd": 128, "n_head": 8, "n_positions": 128}
WIDER = {"hidden_size": 128, "intermediate_size": 344, "num_attention_heads": 8, "max_position_embeddings": 128}
CONFIGS = {
    "GPTBigCode": GPTBigCodeConfig(**(IDS | MORE | GPT | NO_DROPOUT)),
    "GPT-2": GPT2Config(**(IDS | MORE | GPT | NO_DROPOUT)),
    "Llama": LlamaConfig(**(IDS | MORE | LLAMA_SIZES | WIDER)),
    "StarCoder2": Starcoder2Config(**(IDS | MORE | LLAMA_SIZES | WIDER)),
}
# Two blocks of StarCoderBase-1B, with less vocabulary and fewer positions.
STARCODER_SIZES = {"n_embd": 2048, "n_head": 16, "n_layer": 2, "n_positions": 1024}
WIDE = GPTBigCodeConfig(**(IDS | {"vocab_size": 4096} | STARCODER_SIZES | NO_DROPOUT))
COMPONENTS = ["frozen weights", "buffers", "trainable weights", "gradients", "optimizer state"]
COMPONENTS += ["activations", "logits and loss"]
LORA = LoRAConfig(r=16)


def of_tensors(told: Estimate, seen: DryRun, plan: Plan) -> tuple[int, int]:
    """Peak and bytes left by the forward pass, as counted without the batch, weights and optimizer state."""
    batch = 8 * plan.tokens + 16 * plan.label_tokens
    weights = sum(told.components[name] for name in COMPONENTS[:3])
    assert weights == seen.static - batch
    assert (told.trainable, told.parameters) == (seen.trainable, seen.parameters)
    return seen.peak - batch, seen.after_forward - seen.static - told.components["optimizer state"]


def step_of(config, plan: Plan):
    """A model on the CPU, its optimizer, and one training step of `plan`, by PyTorch's own backward."""
    lora = isinstance(plan.method, LoRAConfig)
    model = AutoModelForCausalLM.from_config(config, dtype=DTYPES[plan.weights] if lora else torch.float32)
    if lora:
        apply_lora(model, plan.method)
    model.train()
    set_activation_checkpointing(model, plan.checkpointing, torch.device("cpu"))
    loss, optimizer = AnswerLoss(model), make_optimizer(model, trained(model), TrainConfig())
    ids = torch.arange(plan.tokens).remainder(config.vocab_size)
    batch = Batch(ids.view(plan.batch, plan.sequence), torch.arange(plan.tokens), ids)

    def step() -> None:
        with faster(model):
            (loss(batch.input_ids, batch.label_positions, batch.labels) / plan.tokens).backward()
        optimizer.step()

    return model, optimizer, step


@pytest.mark.parametrize("method", ["LoRA in bf16", "LoRA", "full"])
@pytest.mark.parametrize("family", CONFIGS)
def test_the_static_part_is_exactly_that_of_the_tensors(family, method):
    plan = Plan(1.0 if method == "full" else LORA, 1, 8, "bf16" if "bf16" in method else "fp32")
    model, optimizer, step = step_of(CONFIGS[family], plan)
    step()
    parameters = [*model.parameters()]
    moments = [s[name] for s in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    told = estimate(CONFIGS[family], plan)
    assert list(told.components) == COMPONENTS
    assert [told.components[name] for name in COMPONENTS[:5]] == [
        sum(p.nbytes for p in parameters if not p.requires_grad),
        sum(b.nbytes for b in model.buffers()),
        sum(p.nbytes for p in parameters if p.requires_grad),
        sum(p.grad.nbytes for p in parameters if p.grad is not None),
        sum(m.nbytes for m in moments),
    ]
    assert told.static == sum(told.components[name] for name in COMPONENTS[:5])


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("method", "attention", "checkpointing"),
    [
        *itertools.product([LORA], ["fused", "math", "eager"], [False, True]),
        *[(1.0, "fused", False), (1.0, "fused", True), (1.0, "math", False), (1.0, "eager", True)],
    ],
    ids=lambda value: "LoRA" if value == LORA else str(value),
)
@pytest.mark.parametrize("family", CONFIGS)
def test_estimate_dry_run_and_real_step_side_by_side(family, method, attention, checkpointing):
    plan = Plan(method, 2, 96, "fp32", attention=attention, checkpointing=checkpointing)
    told = estimate(CONFIGS[family], plan)
    dry, real = dry_run(CONFIGS[family], plan), measure(CONFIGS[family], plan, "cpu")
    assert (dry.static, dry.trainable, dry.parameters) == (real.static, real.trainable, real.parameters)
    if attention == "eager":
        assert dry.peak - dry.static == pytest.approx(real.peak - real.static, rel=0.005)
    else:
        assert (dry.peak, dry.after_forward) == (real.peak, real.after_forward)
    peak, left = of_tensors(told, real, plan)
    assert told.predicted_peak == pytest.approx(peak, rel=0.02)
    assert told.saved == pytest.approx(left, rel=0.01)


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("method", "sequence", "attention", "checkpointing"),
    [
        *itertools.product([LORA, 1.0], [64, 256, 1024], ["fused"], [False]),
        *itertools.product([LORA, 1.0], [1024], ["eager"], [False, True]),
        *itertools.product([LoRAConfig(r=1), LoRAConfig(r=64), 1.0], [256], ["fused"], [True]),
    ],
    ids=lambda value: f"r={value.r}" if isinstance(value, LoRAConfig) else str(value),
)
def test_the_peak_at_full_width(method, sequence, attention, checkpointing):
    """Held against the dry run, which on the meta device counts what the CPU holds."""
    plan = Plan(method, 2, sequence, "fp32", attention=attention, checkpointing=checkpointing)
    told = estimate(WIDE, plan)
    peak, _ = of_tensors(told, dry_run(WIDE, plan), plan)
    assert told.predicted_peak == pytest.approx(peak, rel=0.02)


@pytest.mark.parametrize("weights", ["fp32", "fp16"])
@pytest.mark.seconds
def test_few_tokens_leave_the_optimizer_s_update_as_the_peak(weights):
    for config in CONFIGS.values():
        plan = Plan(1.0, 1, 4, weights)
        told = estimate(config, plan)
        peak, _ = of_tensors(told, dry_run(config, plan), plan)
        assert told.predicted_peak == told.moments["optimizer step"] == pytest.approx(peak, rel=1e-4)


@pytest.mark.seconds
def test_the_peak_at_full_width_on_real_tensors():
    plan = Plan(LORA, 1, 48, "fp32")
    told = estimate(WIDE, plan)
    peak, _ = of_tensors(told, measure(WIDE, plan, "cpu"), plan)
    assert told.predicted_peak == pytest.approx(peak, rel=0.01)


@pytest.mark.seconds
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("method", [LoRAConfig(r=64), 1.0], ids=["LoRA", "full"])
@pytest.mark.parametrize("family", CONFIGS)
def test_the_peak_with_16_bit_weights(family, method, checkpointing):
    """What matters at this width, and not at a real one, are the many small tensors: scalars, casts of thin factors."""
    for attention in ("fused", "eager" if checkpointing else "math"):
        plan = Plan(method, 2, 96, "fp16", attention=attention, checkpointing=checkpointing)
        told = estimate(CONFIGS[family], plan)
        peak, _ = of_tensors(told, dry_run(CONFIGS[family], plan), plan)
        assert told.predicted_peak == pytest.approx(peak, rel=0.04), attention


@pytest.mark.seconds
@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "plain"},
        {"loss": "plain", "method": 1.0},
        {"labels": 12},
        {"optimizer": "sgd", "method": 1.0},
        {"method": LoRAConfig(r=4, targets=("c_attn", "c_proj", "c_fc", "wte", "wpe"))},
        {"method": LoRAConfig(r=4, targets=("c_attn", "lm_head"))},
        {"method": LoRAConfig(r=4, targets=("1.attn.c_attn",))},
        {"method": LoRAConfig(r=4, dropout=0.1)},
        {"model_dropout": 0.1},
        {"batch": 1},
        {"checkpointing": True, "method": LoRAConfig(r=4, targets=("1.attn.c_attn",))},
        {"checkpointing": True, "model_dropout": 0.1},
    ],
    ids=str,
)
def test_whatever_else_a_plan_says(changes):
    for weights in ("fp32", "fp16"):
        plan = Plan(**({"method": LORA, "batch": 2, "sequence": 96, "weights": weights} | changes))
        told = estimate(CONFIGS["GPTBigCode"], plan)
        peak, _ = of_tensors(told, dry_run(CONFIGS["GPTBigCode"], plan), plan)
        assert told.predicted_peak == pytest.approx(peak, rel=0.05), weights


@pytest.mark.seconds
@pytest.mark.parametrize("method", [LoRAConfig(16, 8, targets=("c_attn", "c_proj", "c_fc", "wte", "wpe")), 1.0])
def test_the_billion_parameter_step(method):
    """Several chunks of logits, dropout as configured, and every size the real one."""
    plan = Plan(method, 4, 512)
    told = estimate("bigcode/starcoderbase-1b", plan)
    peak, left = of_tensors(told, dry_run("bigcode/starcoderbase-1b", plan), plan)
    assert told.predicted_peak == pytest.approx(peak, rel=0.01)
    assert told.saved == pytest.approx(left, rel=1e-3)


@pytest.mark.parametrize(("method", "checkpointing"), [(LORA, False), (LORA, True), (1.0, False)])
def test_the_profiler_sees_the_same_peak(method, checkpointing, tmp_path):
    """PyTorch's profiler records what the CPU's allocator hands out and takes back, without a mode of ours.

    It also sees what operators use and free inside themselves. Of those logsumexp alone is large, at the loss: with a
    small vocabulary the peak is elsewhere.
    """
    config = GPTBigCodeConfig(**(IDS | GPT | NO_DROPOUT))
    plan = Plan(method, 2, 96, "fp32", checkpointing=checkpointing)
    _, optimizer, step = step_of(config, plan)
    step()
    optimizer.zero_grad()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    recorded.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    changes = sorted((e for e in events if e.get("name") == "[memory]"), key=lambda e: e["ts"])
    peak = max(itertools.accumulate(e["args"]["Bytes"] for e in changes))
    told = estimate(config, plan)
    above = sum(told.components[name] for name in (*COMPONENTS[:3], "optimizer state"))
    assert told.predicted_peak - above == pytest.approx(peak, rel=0.02)


def test_no_operation_of_torch_runs():
    class Refuse(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            raise AssertionError(f"{func} ran")

    with Refuse():
        estimate("GPT-3 175B", Plan(LoRAConfig(r=4, targets=("q_proj", "v_proj")), 1, 2048))
        estimate("meta-llama/Llama-2-7b-hf", Plan(0.5, weights="nf4", optimizer="adamw8bit"))


def test_full_fine_tuning_of_the_billion_takes_16_bytes_a_parameter():
    told = estimate("bigcode/starcoderbase-1b", Plan(1.0))
    assert told.static == 16 * 1_137_207_296 + 64 * 2**20
    assert told.trainable == told.parameters == 1_137_207_296
    assert told.components["frozen weights"] == 0
    assert told.components["trainable weights"] == 4_548_829_184


@pytest.mark.parametrize("weights", ["fp32", "fp16"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_share_lies_between_frozen_and_full(weights, checkpointing):
    """Weights, gradients and state in proportion; activations and moments along a straight line."""
    tell = {
        s: estimate("pocket", Plan(s, 2, 128, weights, checkpointing=checkpointing)) for s in (1e-9, 0.25, 0.5, 1.0)
    }
    low, quarter, half, full = tell.values()
    assert half.trainable == round(0.5 * full.trainable) and low.trainable == 0
    for name in COMPONENTS:
        middle = (low.components[name] + full.components[name]) / 2
        assert half.components[name] == pytest.approx(middle, rel=1e-6, abs=64), name
    assert low.predicted_peak <= quarter.predicted_peak <= half.predicted_peak <= full.predicted_peak
    nearly = estimate("pocket", Plan(1 - 1e-9, 2, 128, weights, checkpointing=checkpointing))
    assert nearly.predicted_peak == pytest.approx(full.predicted_peak, rel=1e-6)


def test_alpha_moves_no_byte_and_the_rank_few():
    def tell(r: int, alpha: float) -> Estimate:
        return estimate("bigcode/starcoderbase-1b", Plan(LoRAConfig(r, alpha), 4, 512))

    assert tell(8, 1) == tell(8, 64)
    assert 1 < tell(16, 8).predicted_peak / tell(8, 8).predicted_peak < 1.03


def test_the_sum_of_components_is_above_what_is_alive_up_to_the_backward_pass():
    for method in (LORA, 1.0, 0.3):
        for checkpointing in (False, True):
            for batch in (1, 16):
                told = estimate("bigcode/tiny_starcoder_py", Plan(method, batch, 256, checkpointing=checkpointing))
                early = max(told.moments[m] for m in ("forward", "loss", "start of backward"))
                assert early <= sum(told.components.values()) + 8  # each is rounded by itself


def test_4_bit_weights_take_half_a_byte_and_0_127_bits_of_scales():
    """Dettmers et al. 2023, section 3: 32 / 64 bits of scales, 8 / 64 + 32 / (64 * 256) with double quantisation."""
    shape = shape_of("meta-llama/Llama-2-7b-hf")
    packed = sum(m.d * m.k for m in shape.modules if ".layers." in m.name)
    told = estimate(shape, Plan(LORA, weights="nf4"))
    bits = 8 * (told.components["frozen weights"] - 2 * (shape.parameters - packed)) / packed
    assert bits == pytest.approx(4 + 0.127, abs=5e-4)
    half = estimate(shape, Plan(LORA, weights="fp16"))
    unpacked = 2 * max(m.d * m.k for m in shape.linears)
    assert told.components["activations"] - half.components["activations"] in range(unpacked + 1)


def test_8_bit_moments_take_two_bytes_and_their_scales():
    shape = shape_of("bigcode/starcoderbase-1b")
    told = estimate(shape, Plan(1.0, optimizer="adamw8bit"))
    small = shape.norm_parameters + 24 * (2304 + 2048 + 2048)  # norms and biases; that of c_fc has 8,192 numbers
    large = shape.parameters - small
    assert told.components["optimizer state"] == 8 * small + 2 * large + 8 * large // 256
    assert estimate(shape, Plan(1.0, optimizer="sgd")).components["optimizer state"] == 0


def test_tensors_from_4096_values_on_have_8_bit_moments():
    """Llama's norms at this width lie on bitsandbytes' threshold; its optimizer's own default is the oracle."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    least = inspect.signature(bitsandbytes.optim.AdamW8bit).parameters["min_8bit_size"].default
    shape = shape_of("meta-llama/Llama-2-7b-hf")
    assert shape.width == least and shape.norm_parameters % least == 0
    told = estimate(shape, Plan(1.0, optimizer="adamw8bit"))
    assert told.components["optimizer state"] == 2 * shape.parameters + 8 * shape.parameters // 256


def test_a_plan_that_does_not_fit_the_model_is_refused():
    with pytest.raises(SettingError, match="A sequence of 513 tokens does not fit: pocket has 512 positions"):
        estimate("pocket", Plan(LORA, 1, 513))
    with pytest.raises(SettingError, match="one r for all modules"):
        Plan(LoRAConfig(rank_pattern={"c_fc": 4}))
    with pytest.raises(SettingError, match="'q_proj' matches no linear layer"):
        estimate("pocket", Plan(LoRAConfig(targets=("q_proj",)), 1, 8))
