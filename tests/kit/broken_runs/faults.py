"""Ten faults that end real fine-tunes, each a piece of code in the place of the right one.

code = FAULTS["both factors zero"].code()
run = train("both factors zero", code, folder)    # `short_run.train`: a short run, and what it left
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lorabook.data.batches import Batch, collate
from lorabook.data.examples import Example
from lorabook.lora import LoRAConfig, LoRALayer, lora_layers, wrap
from lorabook.models import load_model
from lorabook.peft_format import adapter_file
from lorabook.peft_format.adapter_config import lora_config, read_config
from tests.kit.broken_runs.user_code import UserCode, recompute_activations

PAD = 0  # fills short examples; the pocket model's end token has the same id


def alpha_alone(config: LoRAConfig) -> float:
    return config.alpha


def start_with_both_zero(layer: LoRALayer) -> None:
    nn.init.zeros_(layer.A)
    nn.init.zeros_(layer.B)


def shift_labels_again(examples: Sequence[Example]) -> Batch:
    batch = collate(examples)  # the label of a position is the token after it
    return Batch(batch.input_ids, batch.label_positions - 1, batch.labels)


def mask_question(ids: list[int], template: list[int]) -> list[int]:
    """Labels as in many scripts: −100 up to the end of the template, then the ids."""
    for start in range(len(ids)):
        answer = start + len(template)
        if ids[start:answer] == template:
            return [-100] * answer + ids[answer:]
    return [-100] * len(ids)  # the template isn't there


def label_after_a_template(examples: Sequence[Example]) -> Batch:
    """The labels of `mask_question` for "Answer: ", whose last token is a space: before an answer, there is none."""
    template = load_model("pocket", device="cpu").tokenizer("Answer: ").input_ids
    labels = [mask_question(list(example.input_ids), template) for example in examples]
    batch = collate(examples)
    width = batch.input_ids.shape[1]
    places = ((position // width, position % width + 1) for position in batch.label_positions.tolist())
    kept = torch.tensor([labels[row][place] != -100 for row, place in places], dtype=torch.bool)
    return Batch(batch.input_ids, batch.label_positions[kept], batch.labels[kept])


def mask_padding_by_its_id(examples: Sequence[Example]) -> Batch:
    batch = collate(examples)  # padded with the end token
    kept = batch.labels != PAD  # the others are masked
    return Batch(batch.input_ids, batch.label_positions[kept], batch.labels[kept])


def load_adapter(model: nn.Module, folder: Path) -> None:
    tensors, header = adapter_file.read_tensors(folder / adapter_file.WEIGHTS_NAME)
    A, B = (f"{adapter_file.PREFIX}{{}}.lora_{factor}.weight" for factor in "AB")
    names = [name for name, _ in model.named_modules() if A.format(name) in tensors]
    wrap(model, lora_config(read_config(folder), tuple(names)), names, adapter_file.base_in(header))
    for name, layer in lora_layers(model):
        layer.A.data.copy_(tensors[A.format(name)])
        layer.B.data.copy_(tensors[B.format(name)])


@dataclass(frozen=True)
class Fault:
    """A faulty piece of code, `wrong`, and the name of the piece of `UserCode` that it stands for."""

    piece: str
    wrong: Any

    def code(self) -> UserCode:
        """The code of a fine-tune with the fault in it."""
        return UserCode(**{self.piece: self.wrong})


FAULTS = {
    "scaling is not α/r": Fault("scaling", alpha_alone),
    "both factors zero": Fault("start", start_with_both_zero),
    "labels shifted": Fault("collate", shift_labels_again),
    "all labels masked": Fault("collate", label_after_a_template),
    "EOS never a label": Fault("collate", mask_padding_by_its_id),
    "learning rate too high": Fault("lr", 10 * UserCode.lr),
    "loss flat": Fault("lr", 5e-5),  # the default of Transformers' Trainer
    "overfitting": Fault("rows", 8),
    "gradient cut off": Fault("checkpoint", partial(recompute_activations, use_reentrant=True)),
    "adapter on another base": Fault("load", load_adapter),
}
