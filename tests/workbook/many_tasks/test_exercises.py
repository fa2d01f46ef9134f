"""The exercises' solutions against PEFT and the library, and right answers in other words."""

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import nn

from lorabook import merging
from lorabook.lora import LoRAConfig, LoRALinear
from lorabook.workbook.exercises import BY_ROOM
from tests.workbook.mistake_bank import load, said

ANSWERS = {exercise.name: load(exercise.solution) for exercise in BY_ROOM["many_tasks"]}


def random(*shape: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_swap_merged_is_a_merge_into_a_fresh_layer():
    base = nn.Linear(6, 5, bias=False).half()
    layers = [
        LoRALinear(nn.Linear(6, 5, bias=False).half(), LoRAConfig(r=r, alpha=alpha)) for r, alpha in ((2, 8), (3, 1))
    ]
    for seed, layer in enumerate(layers):
        layer.base_layer.load_state_dict(base.state_dict())
        nn.init.normal_(layer.B, generator=torch.Generator().manual_seed(seed))
    adapters = [(layer.A, layer.B, layer.alpha) for layer in layers]
    for layer in layers:
        merging.merge(layer)
    kept = base.weight.detach().clone()
    weight = layers[0].base_layer.weight.detach().clone()
    for _ in range(100):
        ANSWERS["swap_merged"](weight, kept, *adapters)
        assert torch.equal(weight, layers[1].base_layer.weight)
        ANSWERS["swap_merged"](weight, kept, *adapters[::-1])
        assert torch.equal(weight, layers[0].base_layer.weight)


def test_mixed_forward_is_that_of_peft():
    base = nn.Linear(6, 5, bias=False)
    model = get_peft_model(nn.Sequential(base), LoraConfig(r=2, lora_alpha=8, target_modules=["0"]), adapter_name="0")
    model.add_adapter("1", LoraConfig(r=3, lora_alpha=1, target_modules=["0"]))
    layer = model.base_model.model[0]
    adapters = []
    for name, alpha in (("0", 8), ("1", 1)):
        nn.init.normal_(layer.lora_B[name].weight)
        adapters.append((layer.lora_A[name].weight, layer.lora_B[name].weight, alpha))
    x, ids = random(5, 4, 6), [1, -1, 0, 1, -1]
    theirs = layer(x, adapter_names=["__base__" if i < 0 else str(i) for i in ids])
    torch.testing.assert_close(ANSWERS["mixed_forward"](x, base.weight, adapters, torch.tensor(ids)), theirs)


# Right answers in other words


@torch.no_grad()
def written_by_addmm(weight, kept, old, new):
    A, B, alpha = new
    weight[:] = torch.addmm(kept.float(), B, A, alpha=alpha / len(A))


def set_from_detached(weight, kept, old, new):
    A, B, alpha = (t.detach() if torch.is_tensor(t) else t for t in new)
    weight.data = (kept.double() + alpha / A.shape[0] * (B.double() @ A.double())).to(weight.dtype)


def row_by_row(x, W, adapters, ids):
    rows = []
    for row, i in zip(x, ids.tolist()):
        A, B, alpha = adapters[i] if i != -1 else (torch.zeros(1, W.shape[1]), torch.zeros(len(W), 1), 0)
        rows.append(F.linear(row, W + alpha / len(A) * B @ A))
    return torch.stack(rows)


def by_masks(x, W, adapters, ids):
    masks = [(ids == i).view(-1, *[1] * (x.ndim - 1)) for i in range(len(adapters))]
    return x @ W.T + sum(m * (x @ A.T @ B.T) * (a / len(A)) for m, (A, B, a) in zip(masks, adapters))


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("swap_merged", written_by_addmm),
        ("swap_merged", set_from_detached),
        ("mixed_forward", row_by_row),
        ("mixed_forward", by_masks),
    ],
)
def test_a_right_answer_passes_however_it_is_written(name, answer, capsys):
    assert said(capsys, name, answer).startswith("✓")


@pytest.mark.parametrize(
    ("name", "answer", "line"),
    [
        ("swap_merged", lambda weight, kept, old, new: weight.zero_(), "the weight your code gives "),
        ("mixed_forward", lambda x, W, adapters, ids: x @ W.T, "and ids [2, 0, 1, 2, 0] your code gives "),
    ],
)
def test_an_unknown_mistake_is_shown_where_it_fails(name, answer, line, capsys):
    assert line in said(capsys, name, answer)
