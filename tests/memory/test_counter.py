"""The counter of live storages, held against closed forms and against PyTorch's own allocator."""

import gc
import json

import pytest
import torch
from torch import nn

from lorabook.memory.counter import StorageCounter
from tests.kit.families import MODELS, token_ids

FLOAT = 4


def test_every_storage_counts_once_from_its_making_to_its_end():
    with StorageCounter() as counter:
        a = torch.ones(100)
        views = [a.view(10, 10), a[::2], a.view(10, 10).T]
        assert counter.live == 100 * FLOAT and len(views) == 3
        b = a + 1
        assert counter.live == 200 * FLOAT
        del a
        assert counter.live == 200 * FLOAT  # a view still holds it
        del views
        assert counter.live == 100 * FLOAT
        b.add_(1)
        assert (counter.live, counter.peak) == (100 * FLOAT, 200 * FLOAT)
        del b
        assert counter.live == 0


def test_what_is_tracked_from_the_start_counts_once_even_when_shared():
    layer = nn.Linear(8, 8, bias=False)
    tied = nn.Linear(8, 8, bias=False)
    tied.weight = layer.weight
    assert StorageCounter([*layer.parameters(), *tied.parameters(), layer.weight.T]).live == 64 * FLOAT


def test_autograd_keeps_what_the_backward_pass_needs_and_no_more():
    x, w = torch.ones(50, 20), torch.ones(20, 30, requires_grad=True)
    with StorageCounter([x, w]) as counter:
        before = counter.live
        hidden = x @ w  # 50 x 30, kept by tanh's successor only through its result
        hidden = hidden.tanh()
        assert counter.live - before == 50 * 30 * FLOAT
        total = hidden.sum()
        del hidden
        assert counter.live - before == (50 * 30 + 1) * FLOAT  # tanh saved its result
        total.backward()
        assert counter.live - before == (20 * 30 + 1) * FLOAT  # the gradient of w


def mlp_step(device: str):
    with torch.device(device):
        model = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64))
        x = torch.zeros(32, 64)

    def step() -> None:
        model(x).sum().backward()
        model.zero_grad()

    return step, [*model.parameters(), x]


def test_the_meta_device_is_counted_like_a_real_one(tmp_path):
    peaks = []
    for device in ("cpu", "meta"):
        step, tensors = mlp_step(device)
        with StorageCounter(tensors) as counter:
            before = counter.live
            step()
        peaks.append(counter.peak - before)
    assert peaks[0] == peaks[1]
    assert_near(peaks[0], allocator_peak(mlp_step("cpu")[0], tmp_path))


def allocator_peak(step, folder) -> int:
    """The most bytes that the CPU's allocator held during `step`, above what it held before."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    profile.export_chrome_trace(str(folder / "trace.json"))
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    memory = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]")
    held = peak = 0
    for _, size in memory:
        held += size
        peak = max(peak, held)
    return peak


def assert_near(counted: int, allocated: int) -> None:
    """The allocator also sees what an operator uses inside itself: a few percent here, and never less."""
    assert 0.93 * allocated <= counted <= 1.001 * allocated


@pytest.mark.seconds
@pytest.mark.parametrize("family", MODELS)
def test_the_peak_is_the_allocator_s(family, tmp_path):
    """The allocator also sees buffers that an operator uses inside itself, a few percent here, and never less."""
    model, ids = MODELS[family](), token_ids(4, 32)

    def step() -> None:
        model(ids, labels=ids).loss.backward()
        model.zero_grad()

    step()
    gc.collect()
    allocated = allocator_peak(step, tmp_path)
    with StorageCounter([*model.parameters(), *model.buffers(), ids]) as counter:
        before = counter.live
        step()
    assert_near(counter.peak - before, allocated)
