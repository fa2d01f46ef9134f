"""The real training step of the real architecture, run to see what memory it needs: a dry run allocates nothing.

On the meta device nothing is allocated or computed: tensors have shapes and storages without bytes. The step of the
1.1-billion-parameter model runs there in about a second, and a counter of live storages sees what a real one would
hold. `measure` runs the same step on real tensors.
"""

import contextlib
import copy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lorabook.data.batches import Batch
from lorabook.errors import SettingError
from lorabook.kernels import faster
from lorabook.lora import LoRAConfig, apply_lora, count_parameters
from lorabook.memory.autocast import GpuArithmetic, backward_under_modes
from lorabook.memory.counter import StorageCounter
from lorabook.memory.families import ModelLike, shape_of
from lorabook.memory.plan import Plan
from lorabook.memory.shape import Shape
from lorabook.models.attention import expanded_attention
from lorabook.models.precision import DTYPES
from lorabook.step.config import TrainConfig
from lorabook.step.gradients import gradient_step, set_activation_checkpointing
from lorabook.step.loss import AnswerLoss
from lorabook.step.optimizer import make_optimizer, trained


@dataclass(frozen=True)
class DryRun:
    """Bytes that one training step held, and what was run.

    `static`: weights, adapter, buffers and the batch, there before the step. `peak`: the most at any moment. `path`
    names device, attention and arithmetic. `timeline`: what was alive after each operator, by "forward", "backward"
    and "optimizer".
    """

    static: int
    peak: int
    trainable: int
    parameters: int
    path: str
    timeline: dict[str, list[int]]

    @property
    def after_forward(self) -> int:
        """All that was alive between forward and backward pass, the optimizer's state included."""
        return self.timeline["forward"][-1]


def dry_run(model: ModelLike, plan: Plan) -> DryRun:
    """Run `plan` on the meta device: forward, backward, clipping, optimizer, and allocate next to nothing.

    Two steps are run, for the second finds the optimizer's state in place, as all later ones do.

    `model` is a name that `shape_of` knows, a local folder, a Shape, or a configuration of transformers. Attention
    and autocast are the GPU's: with 16-bit weights the casts of CUDA's autocast are made, and "fused" attention calls
    the shape rules of PyTorch's efficient kernel, which keeps nothing for its dropout.

    Raises:
        SettingError: a plan that only `estimate` can answer: several GPUs, 4-bit weights, an 8-bit optimizer, a
            share below 1, a model that transformers does not have; more tokens than the model has positions.
    """
    return _run(model, plan, torch.device("meta"))


def measure(model: ModelLike, plan: Plan, device: str | torch.device | None = None) -> DryRun:
    """Run the two steps of `plan` on real tensors with random weights: on CUDA if there is one, else on the CPU.

    On CUDA, `peak` is what PyTorch's allocator reports, with real autocast; on the CPU it is counted as in `dry_run`,
    which has the same errors.
    """
    return _run(model, plan, torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))


def _refuse(plan: Plan) -> None:
    if plan.gpus > 1:
        raise SettingError("A dry run is of one GPU.", "Use estimate for several.")
    for value, refused in ((plan.weights, "nf4"), (plan.optimizer, "adamw8bit")):
        if value == refused:
            raise SettingError(f"A step with {refused} cannot be run here.", "Use estimate, which knows its size.")
    if not isinstance(plan.method, LoRAConfig) and plan.method != 1:
        raise SettingError(
            f"A share of {plan.method:g} does not say which parameters are trained.",
            "Give a LoRAConfig, or 1.0 for full fine-tuning; estimate takes any share.",
        )


def _run(source: ModelLike, plan: Plan, device: torch.device) -> DryRun:
    from transformers import AutoModelForCausalLM

    _refuse(plan)
    config = _config(source, plan)
    attention = _register(plan) if device.type == "meta" else "eager" if plan.attention == "eager" else "sdpa"
    half = DTYPES[plan.weights] if plan.weights != "fp32" else None
    with torch.random.fork_rng(devices=[]), device:
        model = AutoModelForCausalLM.from_config(config, dtype=_base_dtype(plan), attn_implementation=attention)
    if isinstance(plan.method, LoRAConfig):
        apply_lora(model, plan.method)
    model.train()
    set_activation_checkpointing(model, plan.checkpointing, device)
    loss = AnswerLoss(model) if plan.loss == "chunked" else _PlainLoss(model)
    batch = _batch(plan, config.vocab_size).to(device)
    optimizer = _optimizer(model, plan)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.ExitStack() as stack:
        if plan.attention == "math" and device.type != "meta":
            stack.enter_context(torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH))
        there = [*model.parameters(), *model.buffers(), batch.input_ids, batch.label_positions, batch.labels]
        counter = StorageCounter(there)
        before = counter.live
        timeline: dict[str, list[int]] = {}

        def end(phase: str) -> None:
            timeline[phase], counter.timeline = counter.timeline, []

        def backward(value: Tensor) -> None:
            end("forward")
            if imitated:
                imitated.end_forward()
            backward_under_modes(value)

        imitated = GpuArithmetic(half) if half is not None and device.type != "cuda" else None
        if imitated:
            stack.enter_context(imitated)
        elif half is not None:
            loss.forward = torch.autocast("cuda", half)(loss.forward)
        stack.enter_context(faster(model))  # as the training loop runs it
        stack.enter_context(counter)
        for _ in range(2):  # before the first step ends the optimizer has no state
            if imitated:
                imitated.begin_forward()
            gradient_step(loss, batch, 1 / max(1, plan.label_tokens), backward)
            end("backward")
            nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
            optimizer.step()
            optimizer.zero_grad()
            end("optimizer")
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else counter.peak
    arithmetic = f"{plan.weights} autocast" if half is not None else "fp32"
    path = f"{device.type}, {plan.attention} attention, {arithmetic}"
    return DryRun(before, peak, *count_parameters(model), path, timeline)


def _base_dtype(plan: Plan) -> torch.dtype:
    """What is trained is kept in fp32, so full fine-tuning has an fp32 base."""
    return DTYPES[plan.weights] if isinstance(plan.method, LoRAConfig) else torch.float32


def _batch(plan: Plan, vocabulary: int) -> Batch:
    ids = torch.arange(plan.tokens).remainder(vocabulary).view(plan.batch, plan.sequence)
    places = torch.arange(plan.label_tokens)
    return Batch(ids, places, places.remainder(vocabulary))


def _optimizer(model: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    if plan.optimizer == "sgd":
        return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    optimizer = make_optimizer(model, trained(model), TrainConfig())
    if plan.weights != "fp32":
        for group in optimizer.param_groups:  # torch's default on a GPU: all tensors at once
            group["foreach"] = True
    return optimizer


class _PlainLoss(nn.Module):
    """The loss of the model's own `forward(labels=...)`, which forms the logits of every position."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, label_positions: Tensor, labels: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, labels=input_ids, use_cache=False).loss


def _config(model: ModelLike, plan: Plan) -> Any:
    """A configuration of transformers of its own, which the run may change."""
    shape = shape_of(model)
    shape.check_sequence(plan.sequence)
    config = shape.family.config(shape) if isinstance(model, (str, Path, Shape)) else copy.deepcopy(model)
    if plan.model_dropout is not None:
        for key in shape.family.dropouts.values():
            setattr(config, key, plan.model_dropout)
    return config


def _register(plan: Plan) -> str:
    """The name of an attention function that can run on the meta device: registered without a mask function.

    Without a mask, transformers looks for packed sequences by reading a value, which a meta tensor does not have. A
    name without a mask function leaves before that. Training passes no mask either.
    """
    from transformers import AttentionInterface

    name = f"lorabook_meta_{plan.attention}"
    functions = {"fused": _fused, "math": expanded_attention, "eager": _Eager(plan)}
    AttentionInterface.register(name, functions[plan.attention])
    return name


def _fused(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: None, **features: Any) -> tuple[Tensor, None]:
    """The efficient kernel's shapes. (The CPU's op: it saves what CUDA's saves, and has shape rules on every build.)"""
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    query, key = query.to(value.dtype), key.to(value.dtype)  # Llama rotates them in fp32; autocast casts them back
    output = kernel(query, key, value, 0.0, True, scale=features.get("scaling"))[0]
    return output.transpose(1, 2).contiguous(), None


class _Eager:
    """The model's own eager attention, with the causal mask that transformers would have made once for all layers.

    The mask is there until the last layer is done, or, where blocks are recomputed, as long as they may ask for it.
    """

    def __init__(self, plan: Plan) -> None:
        self.dtype, self.recomputed = _base_dtype(plan), plan.checkpointing
        self.mask: Tensor | None = None

    def __call__(self, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: None, **features: Any):
        if self.mask is None:
            batch, _, size, _ = query.shape
            lowest = torch.finfo(self.dtype).min
            self.mask = query.new_full((batch, 1, size, size), lowest, dtype=self.dtype).triu(1)
        attention = sys.modules[type(module).__module__].eager_attention_forward
        result = attention(module, query, key, value, self.mask, **features)
        if module.layer_idx == module.config.num_hidden_layers - 1 and not self.recomputed:
            self.mask = None
        return result
