"""What a training step inside a subspace costs beside one of full fine-tuning, on the pocket model.

    python -m benchmarks.subspace_step

The same rows, loss and optimizer for all: every parameter trained, and d of them through Fastfood with DID and SAID.
Contenders take turns, so that a busy spell of the machine meets them all, and the median counts. Beside it the peak of
live tensors above the model's own weights. Prints a table and writes `benchmarks/results/subspace_step.json`.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import torch
from torch import nn

from lorabook.data.batches import Batch
from lorabook.memory.counter import StorageCounter
from lorabook.models import load_model
from lorabook.step.config import TrainConfig
from lorabook.step.gradients import gradient_step
from lorabook.step.loss import AnswerLoss
from lorabook.step.optimizer import make_optimizer, trained
from lorabook.subspace.training import apply_subspace, subspace_of
from scripts.assets import records

RESULT = Path(__file__).parent / "results" / "subspace_step.json"
MOST = 3.0  # times a step of full fine-tuning
CONTENDERS = {"full": None, "DID": "did", "SAID": "said"}
D_TRAINED = 10_000


class Contender:
    """A model, its optimizer, and one step of both."""

    def __init__(self, method: str | None):
        self.model = load_model("pocket", device="cpu").model
        self.model.requires_grad_(True).train()
        if method:
            apply_subspace(self.model, D_TRAINED, method=method)  # pyright: ignore[reportArgumentType]
        self.loss, self.subspace = AnswerLoss(self.model), subspace_of(self.model)
        self.parameters = [p for _, p in trained(self.model)]
        self.optimizer = make_optimizer(self.model, trained(self.model), TrainConfig(lr=1e-4))

    def step(self, batch: Batch) -> None:
        gradient_step(self.loss, batch, 1 / len(batch.labels), torch.Tensor.backward)
        if self.subspace:
            self.subspace.pull()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        if self.subspace:
            self.subspace.write()
        self.optimizer.zero_grad()


def batch_of(rows: int, sequence: int, vocabulary: int) -> Batch:
    ids = torch.randint(vocabulary, (rows, sequence), generator=torch.Generator().manual_seed(0))
    positions = torch.arange(rows * sequence).view(rows, sequence)[:, :-1].flatten()
    return Batch(ids, positions, ids[:, 1:].flatten())


def measure(rows: int, sequence: int, turns: int) -> dict:
    contenders = {name: Contender(method) for name, method in CONTENDERS.items()}
    batch = batch_of(rows, sequence, 4096)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(turns + 2):
        for name, contender in contenders.items():
            start = time.perf_counter()
            contender.step(batch)
            if turn >= 2:
                times[name].append(time.perf_counter() - start)
    seconds = {name: statistics.median(each) for name, each in times.items()}
    peaks = {}
    for name, contender in contenders.items():
        with StorageCounter() as counter:
            contender.step(batch)
        peaks[name] = counter.peak
    return {"batch": rows, "sequence": sequence, "seconds": seconds, "peak_bytes": peaks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=15)
    args = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; load of the machine before: {load:.1f}")
    print(f"{'tokens':>9} " + " ".join(f"{name:>14}" for name in CONTENDERS) + f"  (d = {D_TRAINED:,})")
    record = {"threads": torch.get_num_threads(), "load": load, "d": D_TRAINED, "rows": []}
    for rows, sequence in ((1, 256), (2, 256), (8, 256)):
        row = measure(rows, sequence, args.turns)
        record["rows"].append(row)
        full = row["seconds"]["full"]
        cells = (f"{s * 1e3:>7.0f} ms {s / full:.2f}x" for s in row["seconds"].values())
        print(f"{rows} x {sequence:<5} " + " ".join(f"{cell:>14}" for cell in cells), flush=True)
        print(f"{'':9} " + " ".join(f"{peak / 2**20:>11.0f} MiB" for peak in row["peak_bytes"].values()))
    print(f"to be reached: at most {MOST:g}x a step of full fine-tuning")
    records.write(RESULT, "benchmarks/subspace_step.py", record)


if __name__ == "__main__":
    main()
