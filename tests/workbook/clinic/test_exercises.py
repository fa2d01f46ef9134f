"""The exercises' solutions against PEFT and the library's doctor; other answers."""

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import nn

from lorabook.diagnosis.findings import find_faults
from lorabook.workbook.clinic.cases import stored_cases
from lorabook.workbook.exercises import BY_ROOM
from tests.workbook.mistake_bank import load, said

ANSWERS = {exercise.name: load(exercise.solution) for exercise in BY_ROOM["clinic"]}


def random(*shape: int, seed: int = 3, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(
    ("finding", "name"),
    [("jump", "learning rate too high"), ("no improvement", "loss flat"), ("no labels", "all labels masked")],
)
def test_diagnose_names_the_stored_runs_as_the_library_s_doctor_does(finding, name):
    for case in stored_cases()[name]:
        found = [
            ANSWERS["diagnose"](
                run.history.losses, [s.grad_norm for s in run.history.steps], [loss for _, loss in run.history.held_out]
            )
            for run in (case.broken, case.fixed)
        ]
        assert found == [finding, "healthy"]
        assert [finding.name for finding in find_faults(case.broken)] == [name]


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
    answer = said(capsys, "diagnose", lambda losses, grad_norms, held_out: 7)
    assert "your code gives 7, expected 'healthy'" in answer
