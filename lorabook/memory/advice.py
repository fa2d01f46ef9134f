"""What to do when memory ran out: another try with more room, in the end advice on what would fit."""

import gc
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from lorabook.errors import SettingError, TrainingError
from lorabook.lora import adapters_of, count_parameters, is_sharded
from lorabook.memory.estimate import estimate
from lorabook.memory.gpus import largest_batch
from lorabook.memory.plan import Plan
from lorabook.models.precision import DTYPES
from lorabook.subspace.training import subspace_of

MIB = 2**20


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out: CUDA, Python, or in words only, as on CPU and MPS."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    )


def make_room() -> None:
    """Let go of what failed attempts hold: a traceback that a notebook has shown still holds its tensors."""
    for name in ("last_value", "last_traceback", "last_exc"):  # the third from Python 3.12 on
        setattr(sys, name, None)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def too_large(model: nn.Module, step: int, pieces: Sequence[Sequence[int]], tries: int) -> TrainingError:
    """The error that ends a run: `pieces`, the lengths of every micro-batch's examples, did not fit in `tries` tries.

    Its advice has the estimate for the largest micro-batch and for one example, where the model's family is known.
    """
    batch, longest = max(map(len, pieces)), max(map(max, pieces))
    again = any(getattr(m, "gradient_checkpointing", False) for m in model.modules())
    helps = f"{'' if again else 'activation checkpointing, '}a lower maximum length or fewer adapted modules"
    if batch == 1:
        problem = f"One example alone does not fit into memory, at step {step}: it has {longest} tokens."
        advice = f"Try {helps}."
    else:
        times = f"{tries} times in a row " if tries > 1 else ""
        last = "the last time " if tries > 1 else ""
        problem = f"Memory ran out {times}at step {step}, {last}with {batch} examples at once."
        advice = f"Set micro_tokens to {longest}; if that is not enough, try {helps}."
    try:
        return TrainingError(problem, f"{_estimates(model, batch, longest, again)} {advice}")
    except SettingError:  # a model of another family
        return TrainingError(problem, advice)


def _estimates(model: nn.Module, batch: int, longest: int, again: bool) -> str:
    """Estimated peaks of a step with `batch` examples and with one, as the run is and with activations recomputed."""
    host: Any = model
    first = next(model.parameters())
    weights: Any = {dtype: name for name, dtype in DTYPES.items()}.get(first.dtype, "fp32")
    trainable, total = count_parameters(model)
    adapter = adapters_of(model).active
    method = adapter.config if adapter else 1.0 if subspace_of(model) else trainable / total
    plan = Plan(method, batch, longest, weights)
    if is_sharded(model):
        plan = replace(plan, gpus=torch.distributed.get_world_size(), shard=True)
    said = []
    for checkpointing in sorted({again, True}):
        plans = [replace(plan, batch=n, checkpointing=checkpointing) for n in sorted({batch, 1}, reverse=True)]
        sizes = [f"{estimate(host.config, p).predicted_peak / MIB:,.1f} MiB with {p.batch} at once" for p in plans]
        said.append(" and ".join(sizes) + ", activations recomputed" * checkpointing)
    text = f"The estimate for examples of {longest} tokens: {'; '.join(said)}."
    if first.device.type == "cuda":
        size = torch.cuda.get_device_properties(first.device).total_memory
        most = largest_batch(host.config, replace(plan, checkpointing=True), size)
        text += f" Recomputing, at most {most} fit into the GPU's {size / MIB:,.0f} MiB."
    return text
