"""The estimate of what a block saves, against what autograd saves: measured figures, and saved tensors themselves."""

import contextlib
from copy import deepcopy
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config, GPTBigCodeConfig, LlamaConfig

from lorabook.kernels import faster
from lorabook.lora import LoRAConfig, apply_lora
from lorabook.memory.activations import Setting, block
from lorabook.memory.autocast import GpuArithmetic
from lorabook.memory.families import shape_of
from lorabook.memory.plan import Plan
from lorabook.models.attention import attention_for
from lorabook.models.precision import DTYPES
from tests.kit.families import IDS, NO_DROPOUT

H, HEADS = 256, 16
SIZES = {"n_embd": H, "n_head": HEADS, "n_layer": 2, "n_positions": 128}
CONFIGS = {
    "multi-query GPTBigCode": GPTBigCodeConfig(**IDS, **SIZES, **NO_DROPOUT),
    "GPT-2": GPT2Config(**IDS, **SIZES, **NO_DROPOUT),
    "grouped-query Llama": LlamaConfig(
        **IDS,
        hidden_size=H,
        intermediate_size=688,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=4,
        max_position_embeddings=128,
    ),
}
T4 = (7, 5)
STARCODER = "multi-query GPTBigCode"
CASES = {
    "frozen": 1.0,  # nothing is trained, and the gradient flows through
    "LoRA on attention's input": LoRAConfig(r=16, targets=("c_attn",)),
    "full": 1.0,
    "LoRA on all": LoRAConfig(r=16),
    "LoRA on all with dropout": LoRAConfig(r=16, dropout=0.1),
}
# Bytes that one GPTBigCode block saves in fp32, its input left out, over sequence * batch * width. For "eager" there
# are 8 = heads * sequence / width scores a token and head width. With `F.dropout` on an adapter's input the CPU would
# keep 85.8 and 121.1: a mask in fp32 where `byte_dropout` has one byte, for 7 inputs of width h.
MEASURED = {  # with attention "fused" and "eager"
    "frozen": (28.8, 64.1),
    "LoRA on attention's input": (33.1, 68.3),
    "full": (52.8, 92.1),
    "LoRA on all": (53.8, 93.1),
    "LoRA on all with dropout": (64.8, 100.1),
}


def plan_for(config, case: str, *sizes, **changes) -> Plan:
    method = CASES[case]
    if config.model_type == "llama" and isinstance(method, LoRAConfig) and method.targets == ("c_attn",):
        method = replace(method, targets=("q_proj", "v_proj"))
    return Plan(method, *sizes, **changes)


def predicted(config, case: str, plan: Plan) -> int:
    """Estimated bytes that the second block saves, its input left out where the first norm saves just that."""
    shape, lora, names = shape_of(config), plan.method, frozenset()
    if isinstance(lora, LoRAConfig):
        ends = tuple(m.name for m in shape.linears) if lora.targets == ("all-linear",) else lora.targets
        names = frozenset(m.name for m in shape.linears if m.name.endswith(ends))
    setting = Setting(shape, plan, case == "full")
    return block(setting, names, live=True).saved - (4 * plan.tokens * H if setting.e == 4 else 0)


@cache
def model_of(family: str, trained: bool, method: LoRAConfig | None, dtype: torch.dtype, attention: str):
    config = deepcopy(CONFIGS[family])
    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
    model.requires_grad_(trained)
    if method:
        apply_lora(model, method)
    return model.train()


def saved_by_autograd(family: str, case: str, plan: Plan) -> int:
    """The same, as autograd does it: distinct storages that the second block saves, its input and weights left out."""
    lora, config = plan.method if isinstance(plan.method, LoRAConfig) else None, CONFIGS[family]
    stream = torch.float32 if case == "full" else DTYPES[plan.weights]
    kind = {"fused": "sdpa", "math": attention_for("cuda", T4), "eager": "eager"}[plan.attention]
    model = model_of(family, case == "full", lora, stream, kind)
    body = model.base_model
    x = torch.randn(plan.batch, plan.sequence, H).to(stream).requires_grad_()
    inputs, places = {}, torch.arange(plan.sequence)[None]
    if config.model_type == "llama":
        inputs = {"position_embeddings": body.rotary_emb(x, places), "position_ids": places}
    if kind == "eager":
        inputs["attention_mask"] = torch.zeros(1, 1, plan.sequence, plan.sequence, dtype=stream)
    outside = [x, *model.parameters(), *inputs.get("position_embeddings", ())]
    known = {t.untyped_storage().data_ptr() for t in outside}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with contextlib.ExitStack() as stack:
        if plan.weights != "fp32":
            arithmetic = stack.enter_context(GpuArithmetic(DTYPES[plan.weights]))
            arithmetic.begin_forward()
        if plan.attention == "math":
            stack.enter_context(torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH))
        stack.enter_context(faster(model))
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t))
        out = (body.layers if config.model_type == "llama" else body.h)[1](x, **inputs)
    return sum(kept.values()) if out is not None else 0  # `out` holds the graph, so that no storage is used twice


@pytest.mark.parametrize("case", CASES)
def test_measured_bytes_a_token_and_width(case):
    """Both the formulas and autograd give the measured figures; batch 4 x 128 tokens, width 256, 16 heads, r = 16."""
    for attention, measured in zip(("fused", "eager"), MEASURED[case]):
        plan = Plan(CASES[case], 4, 128, "fp32", attention=attention)
        unit = plan.tokens * H
        assert predicted(CONFIGS[STARCODER], case, plan) / unit == pytest.approx(measured, rel=0.01)
        assert saved_by_autograd(STARCODER, case, plan) / unit == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize("weights", ["fp32", "bf16"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", CONFIGS)
def test_a_block_saves_what_autograd_saves(family, case, weights):
    """A batch of one matters to attention's copies alone, and "math" differs from "eager" there alone."""
    settings = [(3, "fused"), (3, "eager")]
    if case == "LoRA on all":
        settings += [(3, "math"), (1, "math"), (1, "eager")]
    for batch, attention in settings:
        plan = plan_for(CONFIGS[family], case, batch, 32, weights, attention=attention)
        measured = saved_by_autograd(family, case, plan)
        assert predicted(CONFIGS[family], case, plan) == pytest.approx(measured, rel=1e-3), plan


def test_freezing_keeps_more_than_half_and_lora_on_everything_saves_none():
    """What LoRA saves is gradients and optimizer state. Of activations, only fewer targets let go."""
    plan = {case: Plan(method, 4, 128, "fp32") for case, method in CASES.items()}
    frozen, full, lora = (predicted(CONFIGS[STARCODER], c, plan[c]) for c in ("frozen", "full", "LoRA on all"))
    assert full / 2 < frozen < full < lora < 1.05 * full


@pytest.mark.parametrize(
    ("attention", "attending", "residual", "weights", "bytes_a_value"),
    [
        ("math", 0.1, 0.0, "fp32", 8),  # mask and dropped scores
        ("eager", 0.1, 0.0, "fp32", 8),
        ("eager", 0.1, 0.0, "bf16", 1),  # the dropped scores stand in for those saved without dropout
        ("fused", 0.0, 0.1, "fp32", 4),
        ("fused", 0.0, 0.1, "bf16", 1),
    ],
)
def test_the_model_s_own_dropout_keeps_masks(attention, attending, residual, weights, bytes_a_value, monkeypatch):
    """A mask has one byte a value on 16-bit weights, as on a GPU, and four in the CPU's fp32."""
    name = f"with dropout {attending} {residual}"
    config = GPTBigCodeConfig(**IDS, **SIZES, attn_pdrop=attending, resid_pdrop=residual, embd_pdrop=0.0)
    monkeypatch.setitem(CONFIGS, name, config)
    plan = Plan(CASES["LoRA on all"], 3, 64, weights, attention=attention)
    kept = predicted(config, "LoRA on all", plan)
    assert kept == pytest.approx(saved_by_autograd(name, "LoRA on all", plan), rel=1e-3)
    more = kept - predicted(config, "LoRA on all", replace(plan, model_dropout=0.0))
    assert more == bytes_a_value * plan.tokens * (2 * H if residual else plan.sequence * HEADS)
