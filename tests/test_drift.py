"""What swapping does to a half-precision weight: held against NumPy's fp16, and against sums done by hand."""

import numpy as np
import pytest
import torch

from lorabook.errors import SettingError
from lorabook.workbook.drift import drift

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


@pytest.mark.parametrize("count", [1, 3])
def test_equals_numpys_fp16(count):
    W0, deltas = updates(count)
    start = W0.numpy().astype(np.float16)
    arrays = [delta.numpy() for delta in deltas]
    exact = [start.astype(np.float64) + delta for delta in arrays]
    unit = np.stack([sum_.astype(np.float16).astype(np.float64) - sum_ for sum_ in exact])
    W, rms, largest = start.copy(), [], []
    for n in range(12):
        W = (W.astype(np.float32) + arrays[n % count]).astype(np.float16)
        W = (W.astype(np.float32) - arrays[n % count]).astype(np.float16)
        error = W.astype(np.float64) - start.astype(np.float64)
        rms.append(np.sqrt(np.mean(error**2) / np.mean(unit**2)))
        largest.append(np.abs(error).max() / np.abs(unit).max())
    result = drift(W0.half(), deltas, 12)
    assert result.rms == pytest.approx(rms, rel=1e-6) and result.largest == pytest.approx(largest, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_one_delta_stays_where_its_first_swap_put_it_and_two_go_on(dtype):
    W0, deltas = updates(2)
    once, turns = drift(W0.to(dtype), deltas[:1], 50), drift(W0.to(dtype), deltas, 50)
    assert set(once.rms) == {once.rms[0]} and once.rms[0] > 0
    assert turns.rms[49] > 2 * turns.rms[9] > 4 * turns.rms[0]
    assert turns.largest[49] > 10


def test_leaves_the_weight_alone():
    W0, deltas = updates(1)
    W0 = W0.half()
    before = W0.clone()
    drift(W0, deltas, 5)
    assert torch.equal(W0, before)


def test_nothing_to_round_is_refused():
    with pytest.raises(SettingError, match="rounds nothing"):
        drift(torch.ones(2, 2, dtype=torch.float16), [torch.zeros(2, 2)], 1)
