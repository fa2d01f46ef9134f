"""The choices of the final notebook: which model this machine can have, and settings to match."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from lorabook.data.sources import HUB_ID
from lorabook.diagnosis.machine import LEAST_GPU_GIB, STARCODER
from lorabook.errors import LorabookError, NetworkError, SettingError
from lorabook.lora import LoRAConfig
from lorabook.memory.dry_run import dry_run
from lorabook.memory.estimate import estimate
from lorabook.memory.plan import Plan
from lorabook.models.hub import UNGATED
from lorabook.models.known import known_model
from lorabook.models.load import preflight
from lorabook.models.precision import DTYPES, precision_for
from lorabook.step.config import TrainConfig, recommended_lr

GIB = 2**30
UNKNOWN_SIZE = 10**9  # parameters of a model that the workbook does not know: the lower learning rate is the safer one


@dataclass(frozen=True)
class FinalRun:
    """Model, rows and training settings that suit each other, and why they were chosen."""

    model: str
    reason: str
    data: str
    rows: int | None
    max_length: int
    training: TrainConfig


def settings_for(model: str, reason: str = "") -> FinalRun:
    """Settings for `model`. On a GPU the run is bounded by time, for GPUs differ; a small model's by its steps."""
    known = known_model(model)
    lr = recommended_lr(known.parameters if known else UNKNOWN_SIZE)
    if model in ("pocket", "smollm2"):
        training = TrainConfig(lr=lr, steps=28, batch_tokens=2048, evaluate_every=7, log_every=14)
        return FinalRun(model, reason, "sample", None, 512, training)
    minutes = 10 if model == UNGATED else 30
    every = 50  # steps
    training = TrainConfig(
        lr=lr, epochs=1, minutes=minutes, batch_tokens=8192, micro_tokens=2048, evaluate_every=every, log_every=every
    )
    return FinalRun(model, reason, HUB_ID, 4000, 512, training)


def choose() -> FinalRun:
    """The best model this machine can have, and why not a larger one.

    A CUDA GPU and access: StarCoderBase-1B. A GPU without access: tiny_starcoder_py, which is not gated. Otherwise
    pocket. The environment variable LORABOOK_MODEL decides where it is set.
    """
    if wanted := os.environ.get("LORABOOK_MODEL"):
        return settings_for(wanted)
    if not torch.cuda.is_available():
        return settings_for("pocket")
    memory = torch.cuda.get_device_properties(0).total_memory
    if memory < LEAST_GPU_GIB * 2**30:
        wanted, reason = UNGATED, f"this GPU has less than {LEAST_GPU_GIB} GiB"
    else:
        wanted, reason = STARCODER, "a GPU, a token and the licence are there"
    try:
        preflight(wanted)
        return settings_for(wanted, reason)
    except NetworkError as error:
        return settings_for("pocket", str(error))
    except LorabookError as error:
        return settings_for(UNGATED, str(error))


def describe(run: FinalRun) -> str:
    """Which model will be trained, why this one, and its learning rate; for the pocket model what that means."""
    lines = [f"model: {run.model}"]
    if run.model == "pocket":
        lines.append("This is the pocket model: 3.9 million parameters, StarCoder's architecture, no GPU needed.")
    if known := known_model(run.model):
        lines.append(f"licence: {known.licence}")
    if run.reason:
        lines.append(f"why this one: {run.reason}")
    lines.append(f"learning rate: {run.training.lr:g}")
    return "\n".join(lines)


def memory_plan(run: FinalRun, lora: LoRAConfig) -> Plan:
    """The step that `run` will take on this machine: a micro-batch of full-length rows, in the device's precision."""
    cuda = torch.cuda.is_available()
    dtype = precision_for("cuda" if cuda else "cpu").weights
    return Plan(
        method=lora,
        batch=max(1, run.training.micro_tokens // run.max_length),
        sequence=run.max_length,
        weights=next(name for name, known in DTYPES.items() if known == dtype),  # pyright: ignore[reportArgumentType]
        checkpointing=cuda,
    )


def memory_forecast(run: FinalRun, lora: LoRAConfig) -> str:
    """Estimate and dry run of `memory_plan`, and what a GPU has; a model of unknown sizes is said so."""
    plan = memory_plan(run, lora)
    try:
        estimated, dry = estimate(run.model, plan), dry_run(run.model, plan)
    except SettingError as error:
        return str(error)
    lines = [
        f"one micro-batch: {plan.batch} sequences of {plan.sequence} tokens, {plan.weights}",
        f"estimated peak: {estimated.predicted_peak / GIB:.2f} GiB",
        f"dry run's peak: {dry.peak / GIB:.2f} GiB",
    ]
    if torch.cuda.is_available():
        lines.append(f"this GPU: {torch.cuda.get_device_properties(0).total_memory / GIB:.2f} GiB")
    return "\n".join(lines)


def output_folder() -> Path:
    """Where the run is kept: LORABOOK_OUTPUT, or `runs/final` beside the notebook."""
    return Path(os.environ.get("LORABOOK_OUTPUT", "runs/final"))
