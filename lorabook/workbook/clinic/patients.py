"""The faulty code of notebook 08, which shows it only after its questions."""

from importlib.resources import files

import torch
from transformers import DataCollatorForSeq2Seq

from lorabook import LoRAConfig, apply_lora
from lorabook.models import load_model
from lorabook.workbook.clinic import task

PROMPT_FILE = files("lorabook.workbook.clinic") / "prompt.txt"

# The notebook explains these functions and shows their source, so they have no types or docstrings.

# What cases 9 and 10 change. 5e-5 is the default of Transformers' TrainingArguments.
SETTINGS = {"healthy run": {"lr": 5e-3}, "case 9": {"lr": 5e-2}, "case 10": {"lr": 5e-5}}


def case_1(model):
    return task.write_answers(model, PROMPT_FILE.read_text())


def case_2(tokenizer, text):
    ids = [*tokenizer(text).input_ids, tokenizer.eos_token_id]
    template = tokenizer("Answer: ").input_ids
    n = len(template)
    starts = [i + n for i in range(len(ids)) if ids[i : i + n] == template]
    start = starts[0] if starts else len(ids)
    return {"input_ids": ids, "labels": [-100] * start + ids[start:]}


def case_3(tokenizer):
    collate = DataCollatorForSeq2Seq(tokenizer)

    def collate_and_mask(examples):
        batch = collate(examples)
        padding = batch["input_ids"] == tokenizer.pad_token_id
        batch["labels"][padding] = -100
        return batch

    return collate_and_mask


def case_4(model, adapter):
    apply_lora(model, LoRAConfig(r=16, alpha=32))
    model.load_state_dict(adapter, strict=False)  # not strict: W0 isn't in it
    return model


def case_5(model, use_reentrant=True):
    model.config.use_cache = False  # the cache doesn't work with checkpointing
    model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    model.disable_input_require_grads()  # switch the safeguard off
    return model


def case_6():
    model = load_model("pocket", device="cpu").model
    apply_lora(model, LoRAConfig(r=16, alpha=32))
    return model.half()  # fp16, to save memory


def case_7(model):
    model = torch.compile(model)  # faster
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def case_8(examples):
    return examples[:3]  # quick test, remove later
