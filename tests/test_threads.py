"""The number of threads: the faster one of two is taken, and given back."""

import signal

import pytest
import torch
from torch import nn

from lorabook import threads
from lorabook.threads import fastest_threads
from lorabook.training.loop import finetune
from tests.kit.runs import HELD_OUT, TRAIN, config, lora_model


@pytest.fixture
def counted(monkeypatch):
    """PyTorch's number of threads, as a number that a test may set without starting any."""
    now = {"threads": 4}
    monkeypatch.setattr(torch, "get_num_threads", lambda: now["threads"])
    monkeypatch.setattr(torch, "set_num_threads", lambda n: now.update(threads=n))
    return now


@pytest.mark.parametrize(("all_take", "chosen"), [(5.0, 1), (0.95, 1), (0.5, 4)])
def test_all_threads_are_used_where_clearly_faster_and_given_back(counted, monkeypatch, all_take, chosen):
    clock = {"now": 0.0}

    def perf_counter():
        clock["now"] += all_take if counted["threads"] == 4 else 1.0
        return clock["now"]

    monkeypatch.setattr(threads.time, "perf_counter", perf_counter)
    with pytest.raises(KeyError), fastest_threads(nn.Linear(8, 4), rows=3) as number:
        assert number == counted["threads"] == chosen
        raise KeyError
    assert counted["threads"] == 4


def test_nothing_is_tried_with_one_thread_or_without_matrices_on_the_cpu(counted, monkeypatch):
    monkeypatch.setattr(threads, "_faster", lambda *_: pytest.fail("tried"))
    with fastest_threads(nn.Linear(8, 4, device="meta"), rows=3) as number:
        assert number == 4
    counted["threads"] = 1
    with fastest_threads(nn.Linear(8, 4), rows=3) as number:
        assert number == 1


def test_no_random_number_is_drawn_and_no_gradient_kept():
    model = nn.Linear(8, 4)
    state = torch.get_rng_state()
    with fastest_threads(model, rows=3):
        pass
    assert torch.equal(torch.get_rng_state(), state)
    assert model.weight.grad is None


@pytest.mark.seconds
def test_a_run_is_resumed_with_the_threads_it_had(monkeypatch, tmp_path):
    used = []
    monkeypatch.setattr(threads, "_faster", lambda *_: 1 if used else 2)

    def stop_at_two(history):
        used.append(torch.get_num_threads())
        if len(history.steps) == 2:
            signal.raise_signal(signal.SIGINT)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for resume in (False, True):
            run = config(log_every=1)
            finetune(lora_model(), TRAIN, HELD_OUT, run, output=tmp_path, on_log=stop_at_two, resume=resume)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert used == [2, 2, 2, 2]
