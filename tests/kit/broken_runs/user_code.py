"""The code of a fine-tune that its user writes or chooses: each piece as it is right, and a run made of them.

code = UserCode()
code.apply_lora(model, r=16, alpha=32)
history = code.finetune(model, train, held_out, TrainConfig(code.lr, steps=24))
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from lorabook.data.batches import Batch, collate
from lorabook.data.examples import Example
from lorabook.lora import LoRAConfig, LoRALayer, Report, apply_lora, lora_layers
from lorabook.models.known import KNOWN
from lorabook.peft_format import adapter_file
from lorabook.step.config import TrainConfig, recommended_lr
from lorabook.training.history import History
from lorabook.training.loop import finetune


def alpha_over_r(config: LoRAConfig) -> float:
    return config.alpha / config.r


def start_with_B_zero(layer: LoRALayer) -> None:
    nn.init.zeros_(layer.B)


def label_answers(examples: Sequence[Example]) -> Batch:
    return collate(examples)  # the label of a position is the token after it


def recompute_activations(block: nn.Module, use_reentrant: bool = False) -> None:
    forward = block.forward
    block.forward = lambda *x, **options: checkpoint(partial(forward, **options), *x, use_reentrant=use_reentrant)


def load_on_its_base(model: nn.Module, folder: Path) -> None:
    adapter_file.load(model, folder)  # refuses another base than the one it was trained on


@dataclass(frozen=True)
class UserCode:
    """The pieces of a fine-tune's code, each right if it is not given.

    Args:
        scaling: the factor that B A x is multiplied by.
        start: fills A and B of a layer, whose A has been drawn.
        collate: makes a batch of some examples.
        lr: the learning rate; the right one is the pocket model's.
        checkpoint: makes a block recompute its activations in the backward pass.
        load: loads an adapter into a model.
        rows: how many of the training examples are used; None for all.
    """

    scaling: Callable[[LoRAConfig], float] = alpha_over_r
    start: Callable[[LoRALayer], object] = start_with_B_zero
    collate: Callable[[Sequence[Example]], Batch] = label_answers
    lr: float = recommended_lr(KNOWN["pocket"].parameters)
    checkpoint: Callable[[nn.Module], object] = recompute_activations
    load: Callable[[nn.Module, Path], object] = load_on_its_base
    rows: int | None = None

    def apply_lora(self, model: nn.Module, **settings: Any) -> Report:
        """LoRA with `scaling` in its settings, then `start` on every layer. `settings`: those of `LoRAConfig`."""

        class Settings(LoRAConfig):
            scaling = property(self.scaling)  # pyright: ignore[reportAssignmentType]

        report = apply_lora(model, Settings(**settings))
        for _, layer in lora_layers(model):
            self.start(layer)
        return report

    def finetune(
        self,
        model: Any,
        train: Sequence[Example],
        held_out: Sequence[Example],
        config: TrainConfig,
        *,
        output: Path,
    ) -> History:
        """`finetune` with `collate`; where it asks for checkpointing, `checkpoint` on all blocks but the last."""

        def checkpoint_blocks(*_: object) -> None:
            for block in model.base_model.h[:-1]:
                self.checkpoint(block)

        model.activation_checkpointing_enable = checkpoint_blocks  # what `finetune` calls
        return finetune(model, train, held_out, config, output=output, collate=self.collate)
