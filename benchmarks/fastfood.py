"""What the fast Walsh-Hadamard transform costs: beside the textbook butterfly and one copy of the same memory.

    python -m benchmarks.fastfood
    python -m benchmarks.fastfood --largest 22 --threads 1

Times one fp32 vector of 2^10 to 2^26 elements, on the CPU and on CUDA where there is one. Contenders take turns, so
that a busy spell of the machine meets them all, and the median counts. Freed memory stays with the process where that
can be set (glibc): otherwise the first use of new memory costs more than a transform, and whom it meets depends on
who ran before. `copies` counts in `x.clone()`, which like a transform returns new memory; `into` in copies to memory
that is there already. Prints a table and what was to be reached, and writes `benchmarks/results/fastfood.json`.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lorabook.subspace.fastfood import fwht
from scripts.assets import records
from scripts.assets.heap import keep_freed_memory

RESULT = Path(__file__).parent / "results" / "fastfood.json"
SMALLEST, LARGEST = 10, 26
FASTER, COPIES = 5.0, 12.0  # at least so many times faster than the butterfly, at most so many copies
try:
    from sklearn_extra.utils._cyfht import fht as compiled  # pyright: ignore[reportMissingImports]
except (ImportError, ValueError):  # ValueError: built for another numpy
    compiled = None
THIRD = "scikit-learn-extra" if compiled else "numpy"


def butterfly(x: Tensor) -> Tensor:
    """The textbook transform: log2(n) passes of (a, b) -> (a + b, a - b) on pairs at distance 1, 2, 4, ..."""
    n, h = len(x), 1
    while h < n:
        a, b = x.view(-1, 2, h).unbind(1)
        x = torch.stack((a + b, a - b), 1).view(n)
        h *= 2
    return x


def third(x: np.ndarray) -> np.ndarray:
    """scikit-learn-extra's compiled transform where it works (its wheels want numpy < 2), else numpy's, in place."""
    x = x.copy()
    if compiled:
        compiled(x)
        return x
    h = 1
    while h < len(x):
        pairs = x.reshape(-1, 2, h)
        a = pairs[:, 0] + pairs[:, 1]
        np.subtract(pairs[:, 0], pairs[:, 1], out=pairs[:, 1])
        pairs[:, 0] = a
        h *= 2
    return x


def medians(contenders: dict[str, Callable[[], object]], seconds: float, wait: Callable[[], None]) -> dict[str, float]:
    """Median seconds of each contender: 5 to 101 turns each, in turn, after one turn that does not count."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    rounds, began = 0, time.perf_counter()
    while rounds < 6 or (rounds < 102 and time.perf_counter() - began < seconds):
        for name, run in contenders.items():
            wait()
            start = time.perf_counter()
            run()
            wait()
            times[name].append(time.perf_counter() - start)
        rounds += 1
    return {name: statistics.median(each[1:]) for name, each in times.items()}


def measure(bits: int, device: str, seconds: float) -> dict:
    x = torch.randn(2**bits, generator=torch.Generator().manual_seed(bits)).to(device)
    there = torch.empty_like(x)
    contenders = {
        "fwht": lambda: fwht(x),
        "butterfly": lambda: butterfly(x),
        "copy": x.clone,
        "into": lambda: there.copy_(x),
    }
    if device == "cpu":
        array = x.numpy()
        contenders["third"] = lambda: third(array)
        assert np.abs(third(array) - fwht(x).numpy()).max() < 1e-4 * 2 ** (bits / 2)
    error = ((fwht(x) - butterfly(x)).abs().max() / 2 ** (bits / 2)).item()
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    return {"device": device, "bits": bits, "error": error} | medians(contenders, seconds, wait)


def exponent(rows: list[dict]) -> float:
    """The slope of log(time) over log(L log2 L): 1 where time is linear in it."""
    x = [np.log(2 ** r["bits"] * r["bits"]) for r in rows]
    return float(np.polyfit(x, [np.log(r["fwht"]) for r in rows], 1)[0])


def line(r: dict) -> str:
    per_element = r["fwht"] / (2 ** r["bits"] * r["bits"]) * 1e9
    slower = f"{r['third'] / r['fwht']:>8.1f}x" if "third" in r else f"{'':>9}"
    return (
        f"{r['device']:5} 2^{r['bits']:<3} {r['fwht'] * 1e3:>9.3f} ms {r['butterfly'] / r['fwht']:>8.1f}x {slower} "
        f"{r['fwht'] / r['copy']:>8.1f} {r['fwht'] / r['into']:>8.1f} {per_element:>9.3f} ns {r['error']:>8.0e}"
    )


def judge(rows: list[dict]) -> dict[str, float]:
    """What was to be reached, from 2^20 on, as measured."""
    large = [r for r in rows if r["bits"] >= 20]
    found = {"slowest against the butterfly": min(r["butterfly"] / r["fwht"] for r in large)}
    for r in large:
        if r["bits"] == 24:
            found |= {"copies at 2^24": r["fwht"] / r["copy"], "copies into memory at 2^24": r["fwht"] / r["into"]}
    return found | ({"exponent of L log L": exponent(large)} if len(large) > 1 else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smallest", type=int, default=SMALLEST)
    parser.add_argument("--largest", type=int, default=LARGEST)
    parser.add_argument("--seconds", type=float, default=8.0, help="at most so long for a size, but 5 turns at least")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=RESULT)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    third_name = THIRD if compiled else "numpy, as scikit-learn-extra is not installed"
    kept = keep_freed_memory()
    print(f"torch {torch.__version__}, {args.threads} threads; load of the machine before: {load:.1f}")
    print(f"freed memory {'stays with' if kept else 'may leave'} the process")
    print(f"third column: {third_name}; error: largest difference from the butterfly over sqrt(L)")
    header = f"{'':11} {'fwht':>9}    {'butterfly':>9} {THIRD[:9]:>9} {'copies':>8} {'into':>8}"
    print(f"{header} {'per L log2 L':>12} {'error':>8}")
    record = {"machine": platform.machine(), "threads": args.threads, "load": load}
    record |= {"memory_kept": kept, "third": third_name, "rows": [], "reached": {}}
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        rows = []
        for bits in range(args.smallest, args.largest + 1, 2):
            rows.append(measure(bits, device, args.seconds))
            print(line(rows[-1]), flush=True)
        record["rows"] += rows
        if args.largest >= 20:
            record["reached"][device] = judge(rows)
            for name, value in record["reached"][device].items():
                print(f"{device}: {name}: {value:.2f}")
    print(f"to be reached from 2^20 on: {FASTER:g}x against the butterfly, {COPIES:g} copies at 2^24, exponent near 1")
    records.write(args.output, "benchmarks/fastfood.py", record)


if __name__ == "__main__":
    main()
