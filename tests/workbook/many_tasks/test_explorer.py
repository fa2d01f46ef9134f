"""The Serving explorer without a browser: over its whole range against counts of models on the meta device and PEFT."""

import re
from copy import deepcopy
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, LoraModel
from torch import nn

from lorabook.lora import LoRAConfig, apply_lora
from lorabook.merging import merge
from lorabook.sizes import size_text
from lorabook.workbook.many_tasks import explorer as serving
from lorabook.workbook.many_tasks.bottleneck import BottleneckConfig, apply_bottleneck
from lorabook.workbook.many_tasks.explorer import (
    FORMATS,
    MODELS,
    PAPER,
    PRESETS,
    RANKS,
    TARGETS,
    TASKS,
    ServingState,
)
from tests.workbook.rank_and_alpha.test_explorer import GPT3, LLAMA, on_meta

STARCODER, T4 = "bigcode/starcoderbase-1b", 14.75 * 2**30
GPT_LINEAR, ATTENTION = ("c_attn", "c_proj", "c_fc"), ("q_proj", "v_proj")
LLAMA_LINEAR = tuple(f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down"))
GPT3_LINEAR = (*(f"{name}_proj" for name in ("q", "k", "v", "out")), "c_fc", "c_proj")
MODULES = {  # what each choice of targets adapts, written out for PEFT
    LLAMA: {"attention": ATTENTION, "linear": LLAMA_LINEAR, "all": (*LLAMA_LINEAR, "embed_tokens")},
    GPT3: {"attention": ATTENTION, "linear": GPT3_LINEAR, "all": (*GPT3_LINEAR, "wte", "wpe")},
}
STARCODERS = {"attention": ("c_attn",), "linear": GPT_LINEAR, "all": (*GPT_LINEAR, "wte", "wpe")}
STATES = [
    ServingState(*values)
    for values in product(*(o.values() for o in (MODELS, TASKS, RANKS, TARGETS, FORMATS, FORMATS)))
]


def told(state: ServingState) -> str:
    """All that the explorer says, what folds out included."""
    return f"{serving.readout(state)}\n{serving.details(state)}"


def parameters(model: nn.Module, trained: bool = False) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trained)


@pytest.fixture(scope="module")
def counted() -> dict[tuple[str, str], int]:
    """Parameters of a LoRA adapter of rank 1, as PEFT counts them; at rank r there are r times as many."""
    found = {}
    for model, targets in product(MODELS.values(), TARGETS.values()):
        config = LoraConfig(r=1, target_modules=list(MODULES.get(model, STARCODERS)[targets]))
        peft_model = LoraModel(on_meta(model), config, "default")
        found[model, targets] = parameters(peft_model, trained=True)
        peft_model.unload()
    return found


@pytest.mark.seconds
@pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings")
@pytest.mark.parametrize("model", MODELS.values())
def test_every_state_tells_what_is_counted(model, counted):
    whole = parameters(on_meta(model))
    buffers = sum(buffer.nbytes for buffer in on_meta(model).buffers())
    for state in (s for s in STATES if s.model == model):
        text, n = told(state), state.tasks
        lora = counted[model, state.targets] * state.r
        copy, adapter = state.base * whole, state.adapters * lora
        one_base = copy + n * adapter
        assert f"{whole:,} parameters, {size_text(copy)} in" in text
        assert f": {lora:,} parameters, {size_text(adapter)} in" in text
        assert (
            f"disk: {size_text(n * copy)} as copies of the model, {size_text(one_base)} as one base with LoRA" in text
        )
        assert ("which saves nothing." in text) == (one_base >= n * copy)
        assert f"ready to answer: {size_text(n * (copy + buffers))} as copies" in text
        assert f"{size_text(one_base + buffers)} as one base with LoRA" in text
        assert f"another adapter, {size_text(adapter)}, or another copy, {size_text(copy)}." in text
        (most,) = re.findall(r"weighs as much as ([\d.,]+) LoRA", text)
        assert float(most.replace(",", "")) == pytest.approx(copy / adapter, rel=5.1e-3)
        for copies, adapters in re.findall(r"room for ([\d,]+) copies, or the base with ([\d,]+) adapters", text):
            copies, adapters = int(copies.replace(",", "")), int(adapters.replace(",", ""))
            assert copies * (copy + buffers) <= T4 < (copies + 1) * (copy + buffers)
            assert adapters * adapter <= T4 - copy - buffers < (adapters + 1) * adapter
        assert ("no room for one copy" in text) == (copy + buffers > T4)


@pytest.mark.parametrize("model", MODELS.values())
@pytest.mark.seconds
def test_the_bottleneck_is_of_the_width_nearest_to_lora(model, counted):
    d, blocks, norms = {  # LayerNorm has a bias, Llama's RMSNorm none
        "pocket": (256, 4, 2),
        "bigcode/tiny_starcoder_py": (768, 20, 2),
        STARCODER: (2048, 24, 2),
        LLAMA: (4096, 32, 1),
        GPT3: (12288, 96, 2),
    }[model]

    def trained(m: int) -> int:
        return blocks * 2 * (2 * m * d + d + m) + (2 * blocks + 1) * norms * d

    for r, targets in product(RANKS.values(), TARGETS.values()):
        state, lora = ServingState(model, r=r, targets=targets), r * counted[model, targets]
        m, counted_parameters = (
            int(n.replace(",", "")) for n in re.search(r"m = (\S+), have (\S+) par", told(state)).groups()
        )
        assert counted_parameters == trained(m) and m >= 1
        assert abs(counted_parameters - lora) <= min(abs(trained(other) - lora) for other in (m + 1, max(1, m - 1)))
        together = state.base * parameters(on_meta(model)) + state.tasks * state.adapters * counted_parameters
        assert f"with the norms: {size_text(together)}." in told(state)


@pytest.mark.parametrize("model", ["pocket", LLAMA])
def test_the_bottleneck_has_as_many_parameters_as_the_layers_themselves(model):
    size = serving.sizes(ServingState(model, r=1))
    adapted = deepcopy(on_meta(model))
    apply_bottleneck(adapted, BottleneckConfig(m=size.m))
    assert size.bottleneck == 4 * parameters(adapted, trained=True)


@pytest.mark.parametrize("targets", TARGETS.values())
@pytest.mark.parametrize("model", ["pocket", STARCODER, LLAMA])
def test_merging_costs_what_it_does_to_the_model_itself(model, targets):
    """On the meta device: which weights `merge` replaces, and how large the model is then, its head perhaps untied."""
    state = ServingState(model, targets=targets)
    merged = deepcopy(on_meta(model))
    before = {id(p) for p in merged.parameters()}
    apply_lora(merged, LoRAConfig(targets=MODULES.get(model, STARCODERS)[targets]))
    merge(merged)
    weights = [p for name, p in merged.named_parameters() if not name.endswith((".A", ".B"))]
    size, text = state.base * sum(p.numel() for p in weights), told(state)
    assert f"A merged copy for each task takes {size_text(state.tasks * size)}" in text
    more = size - state.base * parameters(on_meta(model))
    assert (f"{size_text(more)} more for each because its head" in text) == (more > 0)
    rewritten = state.base * sum(p.numel() for p in weights if id(p) not in before)
    assert f"merging into one base writes {size_text(rewritten)} at each" in text


def test_a_hundred_tasks_with_the_default_and_with_the_article_s_adapter():
    copy, adapter = 2 * 1_137_207_296 / 2**30, 4 * 12_091_392 / 2**30
    assert [round(100 * copy), round(copy + 100 * adapter, 1)] == [212, 6.6]
    text = told(PRESETS["the article's"])
    assert "12,091,392 parameters, 46.1 MiB in fp32" in text
    assert "100 tasks on disk: 212 GiB as copies of the model, 6.62 GiB as one base with LoRA" in text
    assert "11,108,352 parameters, 42.4 MiB in fp32" in told(ServingState())
    half = copy + 100 * 2 * 11_108_352 / 2**30
    assert f"212 GiB as copies of the model, {half:.2f} GiB as" in told(PRESETS["adapters in fp16"])


def test_gpt3_is_that_of_the_paper_s_footnote():
    """Hu et al. 2021, footnote 4: 350 GB + 100 × 35 MB = 354 GB, against 100 × 350 GB = 35 TB."""
    (sums,) = re.findall(r"bytes: (.*) GB \+ 100 × (.*) MB = (.*) GB, against (.*) GB\. The", told(PAPER))
    base, adapter, one_base, copies = (float(number.replace(",", "")) for number in sums)
    assert (base, one_base, copies) == pytest.approx((350, 354, 35_000), rel=5e-3)
    assert adapter == round(96 * 2 * 4 * 2 * 12288 * 2 / 1e6, 1)  # 37.7 MB, or 36.0 MiB: the paper's 35 is rounded
    assert not any("10⁹" in told(s) for s in STATES[::7] if s.model != GPT3)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(STATES))
def test_the_curves_have_these_bytes(state):
    shown, size = serving.shown(state), serving.sizes(state)
    curves = shown["curves"]
    assert curves["a copy per task"] == [n * size.copy for n in TASKS.values()]
    for name, adapter in zip(list(curves)[1:], (size.lora, 0), strict=True):
        assert curves[name] == [size.copy + n * adapter for n in TASKS.values()]
    here = shown["tasks"].index(state.tasks)
    copies, lora = (curves[name][here] for name in ("a copy per task", "one base, LoRA"))
    assert shown["title"].startswith(f"{state.tasks:,} task")
    assert size_text(copies) in shown["title"] and size_text(lora) in shown["title"]
