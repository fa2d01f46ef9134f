"""What two runs must agree on for one to go on from the other's checkpoint."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from lorabook.data.examples import Example
from lorabook.lora import adapters_of
from lorabook.step.config import TrainConfig
from lorabook.subspace.training import subspace_of

# Settings that a resumed run may change: they change no gradient.
NO_GRADIENT = ("micro_tokens", "activation_checkpointing", "shard", "checkpoint_every", "log_every", "evaluate_every")


def identity(
    model: nn.Module,
    named: list[tuple[str, nn.Parameter]],
    train: Sequence[Example],
    held_out: Sequence[Example],
    config: TrainConfig,
    processes: int,
) -> dict[str, Any]:
    """The settings but those of NO_GRADIENT, hashes of examples and frozen weights, each under its name.

    Of every frozen weight up to 64 values enter the hash.
    """

    def digest(lines: Iterable[str]) -> str:
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def spread(p: torch.Tensor) -> list[float]:
        return p.detach().flatten()[:: max(1, p.numel() // 64)].float().tolist()

    subspace, adapter = subspace_of(model), adapters_of(model).active
    start = subspace.theta0 if subspace else {}  # the weights that a subspace moves are known by where they began
    fixed = {n: p for n, p in model.named_parameters() if not p.requires_grad} | start
    return {k: v for k, v in asdict(config).items() if k not in NO_GRADIENT} | {
        "processes": processes,
        "LoRA settings": str(adapter and adapter.config),
        "subspace": str(subspace),
        "trained parameters": digest(f"{n} {tuple(p.shape)}" for n, p in named),
        "frozen weights": digest(f"{n} {spread(p)}" for n, p in fixed.items()),
        "training examples": digest(map(str, train)),
        "held-out examples": digest(map(str, held_out)),
    }
