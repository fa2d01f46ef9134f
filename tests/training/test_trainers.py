"""The same job in ten lines of Transformers' Trainer, and of TRL's SFTTrainer, with PEFT: same labels, same loss."""

from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

from lorabook import LoRAConfig, apply_lora, data
from lorabook.data.examples import Example, encode_all
from lorabook.models import load_model
from lorabook.step.config import TrainConfig
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune

pytestmark = pytest.mark.slow
LR, STEPS, BATCH = 5e-3, 6, 8


@pytest.fixture(scope="module")
def tokenizer():
    return load_model("pocket").tokenizer


@pytest.fixture(scope="module")
def train(tokenizer) -> list[Example]:
    """As many examples as a batch has, so that every step is on the same."""
    return encode_all(data.load("sample").pairs[:BATCH], tokenizer, 256)


@pytest.fixture(scope="module")
def ours(train) -> list[float]:
    """The loss of every step in lorabook's loop."""
    model = load_model("pocket").model
    apply_lora(model, LoRAConfig(r=16, alpha=32))
    config = TrainConfig(lr=LR, steps=STEPS, warmup=0.0, batch_tokens=10**6, micro_tokens=10**6, log_every=0)
    history = finetune(model, train, train, config)
    assert history.held_out[0][1] == pytest.approx(history.steps[0].loss, abs=1e-5)
    return [step.loss for step in history.steps]


def rows(train: list[Example]) -> Dataset:
    return Dataset.from_list(
        [
            {"input_ids": e.input_ids, "labels": [-100] * e.answer_start + list(e.input_ids[e.answer_start :])}
            for e in train
        ]
    )


def with_trainer(train: list[Example], tokenizer, folder: Path) -> Trainer:
    tokenizer.pad_token = tokenizer.eos_token
    config = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(load_model("pocket").model, config)
    settings = TrainingArguments(
        folder, max_steps=STEPS, per_device_train_batch_size=BATCH, learning_rate=LR, logging_steps=1,
        report_to=[], save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    return Trainer(model, settings, DataCollatorForSeq2Seq(tokenizer), train_dataset=rows(train))


def with_trl(train: list[Example], tokenizer, folder: Path) -> Trainer:
    trl = pytest.importorskip("trl")
    config = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    settings = trl.SFTConfig(
        folder, max_steps=STEPS, per_device_train_batch_size=BATCH, learning_rate=LR, logging_steps=1,
        report_to=[], save_strategy="no", disable_tqdm=True, max_length=None, bf16=False, gradient_checkpointing=False,
    )  # fmt: skip
    return trl.SFTTrainer(
        load_model("pocket").model, settings, train_dataset=rows(train), processing_class=tokenizer, peft_config=config
    )


@pytest.mark.parametrize("make", [with_trainer, with_trl])
def test_the_same_labels_the_same_first_loss_and_a_like_course(make: Callable, train, tokenizer, ours, tmp_path):
    trainer = make(train, tokenizer, tmp_path)
    (batch,) = trainer.get_train_dataloader()
    assert int((batch["labels"] != -100).sum()) == sum(example.label_tokens for example in train)
    assert int(batch["attention_mask"].sum()) == sum(len(example.input_ids) for example in train)
    trainer.train()
    theirs = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert theirs[0] == pytest.approx(ours[0], abs=1e-4)
    assert len(theirs) == STEPS and theirs == sorted(theirs, reverse=True)
    # another start of A, and another schedule
    assert theirs[-1] == pytest.approx(ours[-1], abs=0.2) and ours[-1] < ours[0] - 0.4
    assert answer_loss(trainer.model.get_base_model(), train).loss < ours[0] - 0.4
