"""The settings of a run, and the schedule against transformers' own."""

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup

from lorabook.errors import SettingError
from lorabook.step.config import TrainConfig, schedule


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_the_schedule_is_transformers_cosine_with_warmup(warmup):
    total = 40
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = get_cosine_schedule_with_warmup(optimizer, round(warmup * total), total).lr_lambdas[0]
    for step in range(total + 1):
        assert schedule(step / total, warmup) == pytest.approx(theirs(step), abs=1e-9)
    assert schedule(1.7, warmup) == 0.0


BAD = {
    "lr": [0, -1, float("nan"), "1e-3", True, None],
    "epochs": [0, 1.5],
    "steps": [0, -1, 2.5],
    "minutes": [0, float("inf")],
    "batch_tokens": [0, 100.5],
    "micro_tokens": [-5],
    "warmup": [-0.1, 1, None],
    "weight_decay": [-0.1],
    "clip": [-1, None],
    "lora_plus": [0],
    "checkpoint_every": [0],
    "log_every": [-1],
    "evaluate_every": [0.5],
    "seed": [-1, 10**20, 0.5, True],
}


@pytest.mark.parametrize("name", BAD)
def test_settings_out_of_range_are_refused_by_name(name):
    for value in BAD[name]:
        with pytest.raises(SettingError, match=f"{name} is {value!r}"):
            TrainConfig(**{name: value})


def test_what_may_be_left_out_may_be_none():
    TrainConfig(epochs=None, steps=None, minutes=None, lora_plus=None, clip=0, weight_decay=0, log_every=0)
