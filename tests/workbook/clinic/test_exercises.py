"""The exercises' solutions against PEFT and Transformers' collators; other answers."""

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import DataCollatorForLanguageModeling, DataCollatorForSeq2Seq

from lorabook.models import load_model
from lorabook.workbook.exercises import BY_ROOM
from tests.workbook.mistake_bank import load, said

ANSWERS = {exercise.name: load(exercise.solution) for exercise in BY_ROOM["clinic"]}


def random(*shape: int, seed: int = 3, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_label_fault_sees_what_transformers_collators_make():
    """Of the pocket model's examples: padded, truncated, with the padding masked by its id, without an answer."""
    tokenizer = load_model("pocket", device="cpu").tokenizer
    end = tokenizer.pad_token_id = tokenizer.eos_token_id
    collate, by_id = DataCollatorForSeq2Seq(tokenizer), DataCollatorForLanguageModeling(tokenizer, mlm=False)
    fault = ANSWERS["label_fault"]
    whole = [{"input_ids": ids, "labels": ids} for ids in ([5, 6, end], [5, 6, 7, 8, end])]
    assert fault(collate(whole)["labels"], end) == "nothing"
    assert fault(by_id([{"input_ids": each["input_ids"]} for each in whole])["labels"], end) == "no end token"
    truncated = {"input_ids": [5, 6, 7], "labels": [5, 6, 7]}
    assert fault(collate([*whole, truncated])["labels"], end) == "no end token"
    masked = {"input_ids": [5, 6], "labels": [-100, -100]}
    assert fault(collate([truncated, masked])["labels"], end) == "no labels"


def test_frozen_base_trains_and_passes_on_what_peft_s_layer_does():
    base = nn.Linear(6, 5)
    theirs = get_peft_model(nn.Sequential(base), LoraConfig(r=2, lora_alpha=2, target_modules=["0"])).base_model.model[
        0
    ]
    mine = ANSWERS["frozen_base"](nn.Linear(6, 5), 2)
    mine.base.load_state_dict(base.state_dict())
    with torch.no_grad():
        for ours, other in ((mine.A, theirs.lora_A["default"].weight), (mine.B, theirs.lora_B["default"].weight)):
            other.normal_()
            ours.copy_(other)
    gradients = []
    for layer in (mine, theirs):
        x = random(4, 6).requires_grad_()
        layer(x).square().sum().backward()
        trained = sum(p.numel() for p in layer.parameters() if p.grad is not None)
        gradients.append((x.grad, trained))
    torch.testing.assert_close(gradients[0][0], gradients[1][0])
    assert gradients[0][1] == gradients[1][1] == 2 * (6 + 5)


# Right answers in other words


class Functional(nn.Module):
    """Frozen by taking the parameters out of the optimizer's sight, one by one."""

    def __init__(self, base, r):
        super().__init__()
        self.base, self.B = base, nn.Parameter(base.weight.new_zeros(base.out_features, r))
        self.A = nn.Parameter(nn.init.kaiming_uniform_(base.weight.new_empty(r, base.in_features)))
        for p in base.parameters():
            p.requires_grad = False

    def forward(self, x):
        return F.linear(x, self.base.weight + self.B @ self.A, self.base.bias)


def test_a_right_answer_passes_however_it_is_written(capsys):
    assert said(capsys, "frozen_base", Functional).startswith("✓")


def test_an_unknown_mistake_is_shown_where_it_fails(capsys):
    answer = said(capsys, "label_fault", lambda labels, end: 7)
    assert "your code gives 7, expected 'nothing'" in answer
