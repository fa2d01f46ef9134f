"""What swapping does to a half-precision weight: held against loralib and PEFT, and against sums done by hand."""

import loralib
import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import nn

from lorabook.errors import SettingError
from lorabook.workbook.many_tasks.drift import Drift, drift

U = 2.0**-11  # the distance between fp16 numbers in [1/2, 1); in [1, 2) it is twice that


def updates(count: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    W0 = 0.1 * torch.randn(40, 30, generator=generator)
    return W0, [0.02 * torch.randn(40, 30, generator=generator) for _ in range(count)]


def test_by_hand():
    """1/2 + u and 1/2 make 1 + u, halfway between two numbers, which becomes the even one, 1: u is lost, once."""
    W0 = torch.tensor([[0.5 + U, 0.25]], dtype=torch.float16)
    result = drift(W0, [torch.tensor([[0.5, 0.25]])], 3)
    assert result.largest == (1, 1, 1) and result.rms == (1, 1, 1)


def in_units(errors: list[torch.Tensor], W0: torch.Tensor, deltas: list[torch.Tensor]) -> Drift:
    exact = np.stack([W0.double() + delta for delta in deltas])
    unit = exact.astype(np.float16) - exact
    arrays = [error.double().numpy() for error in errors]
    return Drift(
        tuple(np.sqrt(np.mean(e**2) / np.mean(unit**2)) for e in arrays),
        tuple(np.abs(e).max() / np.abs(unit).max() for e in arrays),
    )


def same(result: Drift, wanted: Drift) -> bool:
    return result.rms == pytest.approx(wanted.rms) and result.largest == pytest.approx(wanted.largest)


@pytest.mark.parametrize("count", [1, 3])
def test_is_what_loralib_does_to_a_weight(count):
    """loralib merges on `eval()` and unmerges on `train()`, both with the delta in the weight's dtype."""
    torch.manual_seed(0)
    layer = loralib.Linear(30, 40, r=4, lora_alpha=4, bias=False).half()
    factors = [(torch.randn(4, 30).half() / 5, torch.randn(40, 4).half() / 20) for _ in range(count)]
    W0, errors = layer.weight.detach().clone(), []
    for n in range(12):
        layer.lora_A.data, layer.lora_B.data = factors[n % count]
        layer.eval()
        layer.train()
        errors.append(layer.weight.detach().double() - W0.double())
    deltas = [(B @ A).float() for A, B in factors]
    assert errors[-1].any() and same(drift(W0, deltas, 12), in_units(errors, W0, deltas))


@pytest.mark.parametrize("count", [1, 3])
def test_rounding_back_is_what_peft_does_to_a_weight(count):
    torch.manual_seed(0)
    host = nn.Sequential(nn.Linear(30, 40, bias=False, dtype=torch.float16))
    names, config = [f"task {i}" for i in range(count)], LoraConfig(r=4, lora_alpha=4, target_modules=["0"])
    model = get_peft_model(host, config, adapter_name=names[0])
    for name in names[1:]:
        model.add_adapter(name, config)
    (layer,) = (module for module in model.modules() if isinstance(module, LoraLayer))
    for name in names:
        nn.init.normal_(layer.lora_B[name].weight, std=0.1)
    W0, errors = layer.base_layer.weight.detach().clone(), []
    for n in range(12):
        model.base_model.merge_adapter([names[n % count]])
        model.base_model.unmerge_adapter()
        errors.append(layer.base_layer.weight.detach().double() - W0.double())
    deltas = [layer.get_delta_weight(name).detach() for name in names]
    assert same(drift(W0, deltas, 12, round_back=True), in_units(errors, W0, deltas))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_one_delta_stays_where_its_first_swap_put_it_and_two_go_on(dtype):
    W0, deltas = updates(2)
    once, turns = drift(W0.to(dtype), deltas[:1], 50), drift(W0.to(dtype), deltas, 50)
    assert set(once.rms) == {once.rms[0]} and once.rms[0] > 0
    assert turns.rms[49] > 2 * turns.rms[9] > 4 * turns.rms[0]
    assert turns.largest[49] > 10
    assert drift(W0.to(dtype), deltas[:1], 50, round_back=True).rms[49] > 1.05 * once.rms[0]


def test_leaves_the_weight_alone():
    W0, deltas = updates(1)
    W0 = W0.half()
    before = W0.clone()
    drift(W0, deltas, 5)
    assert torch.equal(W0, before)


def test_nothing_to_round_is_refused():
    with pytest.raises(SettingError, match="rounds nothing"):
        drift(torch.ones(2, 2, dtype=torch.float16), [torch.zeros(2, 2)], 1)
