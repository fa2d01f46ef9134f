"""How many threads are fastest now: on a busy machine, small products are faster with one than with all."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

ROUNDS = 6
FIRST = 4  # products before each round, which wake the threads
NUMBERS = 8_000_000  # of the weights that are tried; a larger model is tried in part
ROWS = 128  # at most, so that a trial takes a fraction of a second
# Of one thread's time; all must stay below it, for on a machine that gets busy later they slow down twentyfold. Two
# cores take 0.63 to 0.83 of it at 128 rows; beside a process that keeps one of them busy, 1.3 to 3 times as long.
WORTH = 0.9


@contextmanager
def fastest_threads(model: nn.Module, rows: int) -> Iterator[int]:
    """Inside the block, PyTorch computes with as many threads as before if that is clearly faster just now, else one.

    Both are tried in turn on products x Wᵀ, x of shape (rows, k), with the model's own matrices W (d, k). Beside a busy
    process, threads wait for each other, and a small model is several times faster with one. Afterwards the number is
    what it was. Nothing is tried on a GPU, or where several processes share the machine.

    Args:
        rows: of x. Training: the tokens of a micro-batch. Generating: the sequences of a batch.

    Yields:
        The number of threads.
    """
    before = torch.get_num_threads()
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    if before > 1 and alone and (weights := _some_weights(model)):
        torch.set_num_threads(_faster(weights, min(rows, ROWS), before))
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def _some_weights(model: nn.Module) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for p in model.parameters():
        if p.device.type == "cpu" and p.ndim == 2 and p.is_floating_point():
            found.append(p.detach())
        if sum(w.numel() for w in found) > NUMBERS:
            break
    return found


def _faster(weights: list[torch.Tensor], rows: int, most: int) -> int:
    inputs = [torch.ones(rows, w.shape[1], dtype=w.dtype) for w in weights]
    seconds = {1: 0.0, most: 0.0}
    products = list(zip(inputs, weights))
    for turn in range(ROUNDS):
        if turn > 1 and seconds[most] > 2 * seconds[1]:
            break  # beside a busy process a round takes long, and there is no doubt
        for threads in seconds:
            torch.set_num_threads(threads)
            for x, w in products[:FIRST]:
                _ = x @ w.T
            began = time.perf_counter()
            for x, w in products:
                _ = x @ w.T
            seconds[threads] += time.perf_counter() - began
    return most if seconds[most] < WORTH * seconds[1] else 1
