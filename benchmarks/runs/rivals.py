"""The whole run of `benchmarks/train_step.py`: lorabook's loop and the Trainer with PEFT on the same rows."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

from lorabook import LoRAConfig, apply_lora
from lorabook.data.batches import epoch_plan
from lorabook.data.examples import Example
from lorabook.lora import matched
from lorabook.models.load import KNOWN, load_model
from lorabook.step.config import TrainConfig, recommended_lr
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune

ROWS, LONGEST = 8, 512  # of the Trainer's batch, and tokens in a row at most
LORA = LoRAConfig(r=16, alpha=32, dropout=0.1)
WARM_UP = 0.05
IGNORED = -100


@dataclass(frozen=True)
class Outcome:
    """`loss`: held-out, in nats per answer token. `labels`: answer tokens trained on. `seconds`: the training call."""

    contender: str
    seconds: float
    loss: float
    steps: int
    labels: int


def lorabook(name: str, train: Sequence[Example], held: Sequence[Example]) -> Outcome:
    """Length buckets filled to a token budget, the least that makes no more steps than ROWS rows in each would."""
    model = load_model(name, device="cpu").model
    apply_lora(model, LORA)
    lengths = [len(e.input_ids) for e in train]
    tokens = ROWS * sum(lengths) // len(lengths)
    while len(epoch_plan(lengths, tokens, tokens, TrainConfig.seed, 0)) > -(-len(train) // ROWS):
        tokens += tokens // 64
    config = TrainConfig(
        lr=recommended_lr(KNOWN[name].parameters),
        batch_tokens=tokens,
        micro_tokens=tokens,
        warmup=WARM_UP,
        log_every=0,
    )
    start = time.perf_counter()
    history = finetune(model, train, train[:1], config)
    seconds = time.perf_counter() - start
    labels = sum(step.label_tokens for step in history.steps)
    return Outcome("lorabook", seconds, answer_loss(model, held).loss, len(history.steps), labels)


def trainer(name: str, train: Sequence[Example], held: Sequence[Example], tuned: bool) -> Outcome:
    """PEFT with the Trainer: every row padded to LONGEST, or `tuned`: grouped by length, padded to the batch's longest.

    ROWS rows a step, the same optimizer, clipping, schedule, learning rate and LoRA; labels on the answers only.
    """
    from peft import LoraConfig, get_peft_model
    from transformers import Trainer, TrainingArguments

    loaded = load_model(name, device="cpu").model
    lora = LoraConfig(r=LORA.r, lora_alpha=int(LORA.alpha), lora_dropout=LORA.dropout, task_type="CAUSAL_LM")
    lora.target_modules = {layer.rsplit(".", 1)[-1] for layer in matched(loaded, LORA.targets)}
    torch.manual_seed(0)
    model: Any = get_peft_model(loaded, lora)  # pyright: ignore[reportArgumentType]
    rows = [
        {
            "input_ids": list(e.input_ids),
            "labels": [IGNORED] * e.answer_start + list(e.input_ids[e.answer_start :]),
            "length": len(e.input_ids),
        }
        for e in train
    ]

    def collate(batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        length = max(len(row["input_ids"]) for row in batch) if tuned else LONGEST

        def padded(values: list[int], fill: int) -> list[int]:
            return values + [fill] * (length - len(values))

        return {
            "input_ids": torch.tensor([padded(row["input_ids"], 0) for row in batch]),
            "attention_mask": torch.tensor([padded([1] * len(row["input_ids"]), 0) for row in batch]),
            "labels": torch.tensor([padded(row["labels"], IGNORED) for row in batch]),
        }

    known = {field.name for field in fields(TrainingArguments)}
    grouped: dict[str, Any] = {"group_by_length": True}  # the name before transformers 5
    if "train_sampling_strategy" in known:
        grouped = {"train_sampling_strategy": "group_by_length"}
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=1,
            per_device_train_batch_size=ROWS,
            learning_rate=recommended_lr(KNOWN[name].parameters),
            lr_scheduler_type="cosine",
            warmup_steps=round(WARM_UP * -(-len(rows) // ROWS)),
            weight_decay=0.0,
            max_grad_norm=1.0,
            use_cpu=True,
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **(grouped if tuned else {}),
        )
        run = Trainer(model, arguments, collate, train_dataset=rows)  # pyright: ignore[reportArgumentType]
        start = time.perf_counter()
        run.train()
        seconds = time.perf_counter() - start
    labels = sum(e.label_tokens for e in train)
    contender = "PEFT, Trainer, tuned" if tuned else "PEFT, Trainer, padded"
    return Outcome(contender, seconds, answer_loss(model.base_model.model, held).loss, run.state.global_step, labels)


CONTENDERS = {
    "lorabook": lorabook,
    "PEFT, Trainer, padded": lambda name, train, held: trainer(name, train, held, False),
    "PEFT, Trainer, tuned": lambda name, train, held: trainer(name, train, held, True),
}
