"""A run as a T4 makes it, played on the CPU: what its capability decides reaches loading, Accelerate and attention."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import accelerate
import pytest
import torch
import transformers
from accelerate.state import AcceleratorState, PartialState
from torch import nn

from lorabook.data.examples import Pair
from lorabook.errors import ModelError
from lorabook.lora import LoRAConfig, apply_lora, lora_layers
from lorabook.memory.counter import StorageCounter
from lorabook.models import load as models
from lorabook.models import load_model
from lorabook.models.attention import EXPANDED, attention_for
from lorabook.models.precision import precision_for
from lorabook.step.optimizer import trained
from lorabook.training import accelerator as accelerators
from lorabook.training import evaluate
from lorabook.training.answers import answer
from lorabook.training.loop import finetune
from tests.kit.accelerators import ScaledAccelerator
from tests.kit.families import AMPERE, CONFIGS, T4, build
from tests.kit.runs import HELD_OUT, TRAIN, assert_close, at_every_step, config, differing, gradients_of, values

GPUS = pytest.mark.parametrize("gpu", [T4, AMPERE], ids=["T4", "Ampere"])
LORA = LoRAConfig(r=4, alpha=8)


@pytest.fixture
def capability(monkeypatch) -> Callable[[tuple[int, int]], None]:
    """Sets what `get_device_capability` answers; to ask for bf16 support, which emulation answers, is a failure."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: pytest.fail("emulation counts there"))
    return lambda gpu: monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: gpu)


@pytest.fixture
def loaded(capability, monkeypatch) -> Callable[[tuple[int, int]], models.LoadedModel]:
    """Pocket as `load_model` reads it for a GPU; only the place it is put in is the CPU's memory."""
    read = transformers.AutoModelForCausalLM.from_pretrained

    def to_cpu(folder: Any, device_map: dict, **options: Any) -> nn.Module:
        assert device_map == {"": torch.device("cuda")}
        return read(folder, **options)

    def load(gpu: tuple[int, int]) -> models.LoadedModel:
        capability(gpu)
        return load_model("pocket", device="cuda")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", to_cpu)
    monkeypatch.setattr(models, "available_bytes", lambda device: 2**40)
    return load


@GPUS
def test_weights_are_read_in_the_gpus_format_and_left_padding_is_guarded(gpu, loaded):
    found = loaded(gpu)
    half, attention, scaler = (torch.float16, EXPANDED, True) if gpu == T4 else (torch.bfloat16, "sdpa", False)
    assert {p.dtype for p in found.model.parameters()} == {half}
    assert found.model.config._attn_implementation == attention and found.precision.scaler == scaler
    apply_lora(found.model, LORA)
    assert {p.dtype for _, p in trained(found.model)} == {torch.float32}
    ids, mask = torch.tensor([[0, 0, 5, 6]]), torch.tensor([[0, 0, 1, 1]])
    if gpu == T4:
        with pytest.raises(ModelError, match="padded on the left"):
            found.model(ids, attention_mask=mask)
    else:
        found.model(ids, attention_mask=mask)


@pytest.mark.filterwarnings("ignore::UserWarning")  # the scaler finds no CUDA device
@GPUS
def test_accelerate_scales_the_loss_on_a_t4_and_not_on_an_ampere_gpu(gpu, capability):
    capability(gpu)
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState().device = torch.device("cuda")
    try:
        accelerator = accelerators.accelerator_for(torch.device("cuda"))
        assert accelerator.mixed_precision == ("fp16" if gpu == T4 else "bf16")
        assert isinstance(accelerator.scaler, torch.amp.GradScaler) == (gpu == T4)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


class Autocast(ScaledAccelerator):
    """What Accelerate does on a GPU, on the CPU: autocast around the loss in the format asked for, and for fp16 a
    GradScaler."""

    scale = 2.0**16

    def __init__(self, mixed_precision: str, cpu: bool, **more: Any):
        super().__init__(cpu=True, **more)
        self.half = {"fp16": torch.float16, "bf16": torch.bfloat16}[mixed_precision]
        if mixed_precision == "bf16":
            self.scaler = None

    def prepare_model(self, model: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        model = super().prepare_model(model, *args, **kwargs)
        model.forward = torch.autocast("cpu", self.half)(model.forward)
        return model

    def unscale_gradients(self, optimizer: Any = None) -> None:
        if self.scaler is not None:
            super().unscale_gradients(optimizer)


@pytest.fixture
def sdpa_calls(monkeypatch) -> list[tuple]:
    """What reaches PyTorch's scaled_dot_product_attention with gradients on: query, key, value, options."""
    calls = []
    sdpa = torch.nn.functional.scaled_dot_product_attention

    def spy(query, key, value, **options):
        if torch.is_grad_enabled():
            calls.append((query, key, value, options))
        return sdpa(query, key, value, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    return calls


def with_lora(attention: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    model = build(CONFIGS["multi-query GPTBigCode"], attention).to(dtype)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    apply_lora(model, LORA)
    return model


@pytest.mark.seconds
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
@GPUS
def test_a_whole_run_in_half_precision(gpu, checkpointing, monkeypatch, sdpa_calls):
    """The loss falls as in fp32, in steps that the scaler lets pass; what reaches attention is what the GPU's kernels
    want, in the forward pass and when it is recomputed."""
    settings = config(activation_checkpointing=checkpointing, steps=8)
    exact = finetune(with_lora("sdpa"), TRAIN, HELD_OUT, settings)
    sdpa_calls.clear()

    policy = precision_for("cuda", gpu)
    for module in (accelerators, evaluate):
        monkeypatch.setattr(module, "precision_for", lambda device: policy)
    monkeypatch.setattr(accelerate, "Accelerator", Autocast)
    model = with_lora(attention_for("cuda", gpu), policy.weights)
    before, histories = values(model), []

    def formats(optimizer: torch.optim.Optimizer) -> set[torch.dtype]:
        tensors = [p for group in optimizer.param_groups for p in group["params"]]
        return {p.dtype for p in tensors} | {p.grad.dtype for p in tensors}

    run = at_every_step(lambda: histories.append(finetune(model, TRAIN, HELD_OUT, settings)), formats)
    steps = histories[0].steps
    assert run == [{torch.float32}] * 8 and not any(s.skipped for s in steps)
    tolerance = 2e-3 if gpu == T4 else 2e-2
    assert [s.loss for s in steps] == pytest.approx([s.loss for s in exact.steps], rel=tolerance)
    assert steps[0].grad_norm == pytest.approx(exact.steps[0].grad_norm, rel=10 * tolerance)
    (_, first), (_, last) = histories[0].held_out
    assert last == pytest.approx(exact.held_out[1][1], rel=tolerance) and last < 0.95 * first
    factors = {f"{name}.{factor}" for name, _ in lora_layers(model) for factor in "AB"}
    assert set(differing(before, values(model))) == factors

    micro_batches = len(sdpa_calls) / (2 * (1 + checkpointing))  # two layers, each called again when recomputed
    assert micro_batches == int(micro_batches) > 12
    key_heads = 4 if gpu == T4 else 1
    for query, key, value, options in sdpa_calls:
        rows, _, tokens, _ = query.shape
        assert query.shape == (rows, 4, tokens, 8) and key.shape == value.shape == (rows, key_heads, tokens, 8)
        assert query.dtype == key.dtype == value.dtype == policy.weights
        assert options["is_causal"] is True and options["attn_mask"] is None
        assert options.get("enable_gqa", False) is (gpu == AMPERE)
    assert len({query.shape[2] for query, *_ in sdpa_calls}) > 3  # lengths of padded batches


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
def test_both_attentions_train_alike(checkpointing):
    settings, seen = config(activation_checkpointing=checkpointing, steps=3, lr=1e-3), []
    for attention in ("sdpa", attention_for("cuda", T4)):
        model = with_lora(attention)
        seen.append(gradients_of(model, lambda model=model: finetune(model, TRAIN, HELD_OUT, settings)))
    for theirs, ours in zip(*seen, strict=True):
        assert_close(ours, theirs)


def test_memory_does_not_grow_with_the_sequence_for_the_same_tokens():
    """256 tokens as 8 x 32 and as 1 x 256; the MATH path, where a T4 sends shared heads, stores every score."""

    def peak(rows: int, backend: torch.nn.attention.SDPBackend) -> int:
        settings = deepcopy(CONFIGS["multi-query GPTBigCode"])
        settings.n_positions = 256
        model = build(settings, attention_for("cuda", T4))
        ids = torch.arange(256).remainder(64).view(rows, -1)
        with torch.nn.attention.sdpa_kernel(backend), StorageCounter(model.parameters()) as counter:
            before = counter.live
            model.base_model(ids, use_cache=False).last_hidden_state.sum().backward()
        return counter.peak - before

    linear, quadratic = torch.nn.attention.SDPBackend.FLASH_ATTENTION, torch.nn.attention.SDPBackend.MATH
    assert peak(1, linear) == pytest.approx(peak(8, linear), rel=0.02)
    assert peak(1, quadratic) > 2 * peak(8, quadratic)


@pytest.mark.parametrize("family", CONFIGS)
def test_a_left_padded_batch_generates_what_each_prompt_alone_does(family):
    """With sdpa, as the refusal advises; the prompts alone go through the attention for a T4."""
    model = build(CONFIGS[family], attention_for("cuda", T4))
    prompts = [[7, 3, 9, 4, 11, 2], [5, 8], [6, 1, 2]]
    options = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    alone = []
    for p in prompts:
        mask = torch.ones(1, len(p), dtype=torch.long)
        alone.append(model.generate(torch.tensor([p]), attention_mask=mask, **options)[0, len(p) :].tolist())
    ids = torch.tensor([[0] * (6 - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (6 - len(p)) + [1] * len(p) for p in prompts])
    model.set_attn_implementation("sdpa")
    together = model.generate(ids, attention_mask=mask, **options)[:, 6:]
    assert together.tolist() == alone
    assert together.unique().numel() > 1
    model.set_attn_implementation(EXPANDED)  # nothing stops a model that `load_model` did not make: hence the refusal
    assert model.generate(ids, attention_mask=mask, **options)[:, 6:].tolist() != together.tolist()


def test_an_answer_from_a_t4_is_that_of_sdpa(loaded):
    question = Pair(1, "How do I reverse a list?", "I have a list of numbers.", "")
    found, said = loaded(T4), []
    model = found.model.float()
    for attention in (EXPANDED, "sdpa"):
        model.set_attn_implementation(attention)
        said.append(answer(model, found.tokenizer, question, max_new_tokens=24))
    assert said[0] == said[1] != ""
