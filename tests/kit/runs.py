"""Training runs on a toy task that a tiny model can learn, watched step by step."""

import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from lorabook.data.examples import Example
from lorabook.lora import LoRAConfig, apply_lora
from lorabook.step.config import TrainConfig
from lorabook.training.history import History
from tests.kit.families import gpt_bigcode


def rows(count: int = 24, seed: int = 0, longest: int = 24) -> list[Example]:
    """Examples of ragged lengths; an answer counts up from its prompt's last token, then ends with the end token."""
    rng, examples = np.random.default_rng(seed), []
    for i in range(count):
        length = int(rng.integers(6, longest + 1))
        start = int(rng.integers(2, length - 2))
        prompt = rng.integers(1, 40, start).tolist()
        answer = [(prompt[-1] + k) % 63 + 1 for k in range(length - start - 1)]
        examples.append(Example((*prompt, *answer, 0), start, 1000 * seed + i))
    return examples


TRAIN, HELD_OUT = rows(), rows(6, seed=1)


def config(**changes: Any) -> TrainConfig:
    """Four steps over `TRAIN` in batches of at most 150 tokens, about three steps an epoch, without clipping."""
    quiet = {"lr": 1e-2, "steps": 4, "batch_tokens": 150, "micro_tokens": 50, "clip": 0.0, "log_every": 0}
    return TrainConfig(**(quiet | changes))


def lora_model(dropout: float = 0.0, targets: tuple[str, ...] = ("all-linear", "wte"), **changes: Any) -> nn.Module:
    model = gpt_bigcode(**changes)
    apply_lora(model, LoRAConfig(r=4, alpha=8, targets=targets, dropout=dropout))
    return model


def values(model: nn.Module) -> dict[str, Tensor]:
    """A copy of every parameter and buffer."""
    return {name: t.clone() for name, t in model.state_dict().items()}


def differing(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    """The names of the tensors that are not bit-equal."""
    assert before.keys() == after.keys()
    return [name for name in before if not torch.equal(before[name], after[name])]


def at_every_step(run: Callable[[], Any], look: Callable[[torch.optim.Optimizer], Any]) -> list[Any]:
    """What `look` sees of the optimizer before every step of `run`."""
    seen: list[Any] = []
    handle = register_optimizer_step_pre_hook(lambda optimizer, args, kwargs: seen.append(look(optimizer)))
    try:
        run()
    finally:
        handle.remove()
    return seen


def gradients_of(model: nn.Module, run: Callable[[], Any]) -> list[dict[str, Tensor]]:
    """The gradients of `model` that the optimizer was given at every step of `run`."""
    return at_every_step(run, lambda _: {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})


def stop_at(step: int) -> Callable[[History], None]:
    """An `on_log` that presses the stop button once, after `step` steps."""

    def press(history: History) -> None:
        if len(history.steps) == step:
            signal.raise_signal(signal.SIGINT)

    return press


def assert_close(mine: dict[str, Tensor], other: dict[str, Tensor], tolerance: float = 1e-5) -> None:
    assert mine.keys() == other.keys() and mine
    for name in mine:
        torch.testing.assert_close(
            mine[name], other[name], rtol=tolerance, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}"
        )
