"""The exercises' solutions against PEFT."""

import pytest
from torch import nn

from lorabook.lora import LoRAConfig
from lorabook.workbook.exercises import BY_ROOM
from tests.kit.families import gpt_bigcode
from tests.kit.oracles import with_peft
from tests.workbook.mistake_bank import load, said

ANSWERS = {exercise.name: load(exercise.solution) for exercise in BY_ROOM["rank_and_alpha"]}
KINDS = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")


def trained(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(("budget", "expected"), [(2_784, 3), (2_783, 2), (600, 0)])
def test_largest_rank_counts_as_peft_does(budget, expected):
    block = gpt_bigcode().transformer.h[0]
    shapes = [tuple(block.get_submodule(name).weight.shape) for name in KINDS]
    r = ANSWERS["largest_rank"](shapes, 2, budget)
    assert r == expected
    assert trained(with_peft(gpt_bigcode(), LoRAConfig(r=r + 1, targets=KINDS))) > budget
    assert r == 0 or trained(with_peft(gpt_bigcode(), LoRAConfig(r=r, targets=KINDS))) <= budget


@pytest.mark.parametrize("rslora", [False, True])
def test_same_effect_is_rank_times_peft_s_scaling(rslora):
    def scaling(r, alpha):
        model = with_peft(nn.Sequential(nn.Linear(4, 4)), LoRAConfig(r=r, alpha=alpha, targets=("0",), rslora=rslora))
        return model.base_model.model[0].scaling["default"]

    for alpha, r, new_r in ((8, 16, 32), (3, 4, 7), (32, 8, 1)):
        new_alpha = ANSWERS["same_effect"](alpha, r, new_r, rslora)
        assert new_r * scaling(new_r, new_alpha) == pytest.approx(r * scaling(r, alpha))


def test_same_effect_may_be_a_quotient_of_scalings(capsys):
    answer = "lambda a, r, n, rs: a * r / r ** (0.5 if rs else 1) / n * n ** (0.5 if rs else 1)"
    assert said(capsys, "same_effect", eval(answer)).startswith("✓")
