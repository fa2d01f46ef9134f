"""Folders that PEFT, Transformers' Trainer and TRL write, each of LoRA on one tiny Llama."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
)

from tests.kit.families import CONFIGS, save_model

Row = dict[str, list[int]]
QUIET = {"report_to": [], "use_cpu": True, "disable_tqdm": True, "per_device_train_batch_size": 4}


def base_folder(folder: Path) -> Path:
    """The model that all the others adapt, with a tokenizer of three tokens."""
    save_model(folder, CONFIGS["grouped-query Llama"])
    return folder


def base_model(base: Path, **options: Any) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(base, **options)


def tokenizer_of(base: Path, **changes: Any) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(base, **changes)


def peft_model(model: torch.nn.Module, **settings: Any) -> PeftModel:
    """`model` with PEFT's LoRA of rank 4 on all linear layers, unless said otherwise, not trained yet."""
    usual = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    return get_peft_model(model, LoraConfig(**(usual | settings)))  # type: ignore[arg-type]


@torch.no_grad()
def filled(model: PeftModel, value: float = 0.1) -> PeftModel:
    """`model` with every B of this value, in place of a training."""
    for name, parameter in model.named_parameters():
        if ".lora_B." in name or ".lora_embedding_A." in name:
            parameter.fill_(value)
    return model


def rows(starts: Iterable[int]) -> list[Row]:
    """A row a start: it counts up from there, ends in the end token, and has labels on its second half."""
    ids = [[*(start * 7 % 50 + j for j in range(1, 12)), 0] for start in starts]
    return [{"input_ids": row, "labels": [-100] * 6 + row[6:]} for row in ids]


TRAIN, HELD_OUT = rows(range(32)), rows(range(32, 40))


def train(
    folder: Path,
    model: torch.nn.Module,
    train: list[Row] = TRAIN,
    held_out: list[Row] = HELD_OUT,
    tokenizer: PreTrainedTokenizerBase | None = None,
    save: bool = True,
    **changes: Any,
) -> Trainer:
    """A run of Trainer's, by default of 20 steps that are all logged, with checkpoints, 4 evaluations and its model."""

    def collate(rows: list[Row]) -> dict[str, Tensor]:
        return {key: torch.tensor([row[key] for row in rows]) for key in ("input_ids", "labels")}

    usual = {"learning_rate": 1e-2, "max_steps": 20, "logging_steps": 1, "save_steps": 20, "eval_strategy": "steps"}
    arguments = TrainingArguments(output_dir=str(folder), **(usual | {"eval_steps": 5} | QUIET | changes))  # type: ignore[arg-type]
    trainer = Trainer(
        model,  # type: ignore[arg-type]
        arguments,
        data_collator=collate,  # type: ignore[arg-type]
        train_dataset=train,  # type: ignore[arg-type]
        eval_dataset=held_out,  # type: ignore[arg-type]
        processing_class=tokenizer,
    )
    trainer.train()
    if save:
        trainer.save_model()
    return trainer


def train_by_trl(folder: Path, base: Path, tokenizer: PreTrainedTokenizerBase | None = None, **changes: Any) -> None:
    """A run of TRL's SFTTrainer on prompts and completions, of 10 steps with 2 evaluations."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer  # pyright: ignore[reportMissingImports]

    texts = [{"prompt": "import os " * (1 + i % 3), "completion": "import import os"} for i in range(12)]
    usual = {"learning_rate": 1e-2, "max_steps": 10, "logging_steps": 1, "save_steps": 5, "eval_strategy": "steps"}
    trainer = SFTTrainer(
        str(base),
        args=SFTConfig(str(folder), eval_steps=5, bf16=False, pad_token="os", **(usual | QUIET | changes)),
        train_dataset=Dataset.from_list(texts[:8]),
        eval_dataset=Dataset.from_list(texts[8:]),
        processing_class=tokenizer or tokenizer_of(base),
        peft_config=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"),
    )
    trainer.train()
    trainer.save_model()
