"""What a T4 can train: StarCoderBase-1B with random weights, on a real GPU that is held to a T4's terms.

    python -m benchmarks.gpu             on CUDA; without a GPU it says so and ends
    python -m benchmarks.gpu --tiny      the same code with a tiny model on the CPU, in a minute or two

A T4's terms: PyTorch's allocator gets 14.75 GiB in all, attention may use the memory-efficient kernel and the MATH
path but neither flash nor cuDNN, and the capability is said to be (7, 5), so that lorabook takes its path for a T4:
fp16 weights, fp16 autocast, a scaled loss, and attention with keys and values expanded. Under the same terms runs what
a user would take instead: PEFT with the Trainer of Transformers, of the same rank on the same layers, with the same
rows, precision, checkpointing and clipping. Every row is full: no padding, and a label at every position but the first.

1. The same tokens a step in longer and longer rows: tokens per second, and lorabook's peak beside the estimate and
   beside what the dry run on the meta device counts. Contenders take turns, and the median of all steps counts.
   Where attention stores no scores, the peak stays as rows get longer.
2. The largest batch: the most rows that pass three steps, found by trying, beside the estimate's answer.

On the GPU every run is a process of its own. The CUDA context is not counted: on a real T4 it takes some hundred MiB
of the 14.75 GiB. Prints both tables and writes one JSON file.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.runs import t4
from benchmarks.runs.t4 import Job, Setting
from lorabook.memory.dry_run import dry_run
from lorabook.memory.estimate import estimate
from lorabook.memory.gpus import largest_batch
from scripts.assets import records

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "gpu.json"
CONTENDERS = ("lorabook", "PEFT")
TRIAL_STEPS, TIMED_STEPS = 3, 8
MIB = 2**20
Run = Callable[[Setting, Job], dict[str, Any]]


def in_its_own_process(setting: Setting, job: Job) -> dict[str, Any]:
    """`t4.work` in a new process, which sees one GPU: the Trainer would use all."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    order = json.dumps({"device": setting.device, "job": asdict(job)})
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.runs.t4", order],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": visible},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{job} ended with exit code {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def largest(fits: Callable[[int], bool], guess: int) -> int:
    """The most rows that `fits`, 0 if one does not: from `guess` outwards in growing steps, then by halving."""
    low, high, step = 0, None, max(1, guess // 16)
    rows = max(1, guess)
    while high is None or high - low > 1:
        if fits(rows):
            low = rows
        else:
            high = rows
        if high is None:
            rows, step = low + step, 2 * step
        elif low == 0 and high > 1:
            rows, step = max(1, high - step), 2 * step
        else:
            rows = (low + high) // 2
    return low


def same_tokens(setting: Setting, sequence: int, turns: int, run: Run) -> dict[str, Any]:
    """Both contenders on `setting.tokens` tokens in rows of `sequence`, in turns; the estimate and the dry run."""
    rows = setting.tokens // sequence
    taken: dict[str, list[dict]] = {name: [] for name in CONTENDERS}
    for turn in range(turns):
        for name in CONTENDERS if turn % 2 == 0 else CONTENDERS[::-1]:
            taken[name].append(run(setting, Job(name, rows, sequence, True, TIMED_STEPS)))
    plan, config = setting.plan(rows, sequence, True), setting.config()
    predicted = {"estimate": estimate(config, plan).predicted_peak, "dry_run": dry_run(config, plan).peak}
    return {"rows": rows, "sequence": sequence, **predicted} | {
        name: summary(runs, rows * sequence) for name, runs in taken.items()
    }


def summary(runs: list[dict], tokens: int) -> dict[str, Any]:
    """Of several runs of the same job: the median step, the highest peak, and what was used."""
    if failed := next((r for r in runs if "failed" in r), None):
        return failed
    seconds = statistics.median([s for r in runs for s in r["seconds"]])
    peaks = {key: max(r[key] for r in runs) for key in ("peak", "reserved") if key in runs[0]}
    used = {key: runs[0][key] for key in ("weights", "trained", "attention")}
    return {"seconds": round(seconds, 5), "tokens_per_second": round(tokens / seconds, 1), **peaks, **used}


def largest_batches(setting: Setting, sequence: int, checkpointing: bool, run: Run) -> dict[str, Any]:
    """The most rows of `sequence` tokens that each contender trains within the cap, and that run itself."""
    found: dict[str, Any] = {"sequence": sequence, "checkpointing": checkpointing}
    config = setting.config()
    for name in CONTENDERS:
        passed: dict[int, dict] = {}
        refusals: list[str] = []

        def fits(rows: int, name=name, passed=passed, refusals=refusals) -> bool:
            result = run(setting, Job(name, rows, sequence, checkpointing, TRIAL_STEPS))
            if "failed" in result or result["peak"] > setting.cap:
                refusals.append(result.get("failed", "more than the cap"))
                return False
            passed[rows] = result
            return True

        guess = largest_batch(config, setting.plan(1, sequence, checkpointing, name), setting.cap)
        rows = largest(fits, guess)
        found[name] = {"rows": rows, "estimated_rows": guess, "refused_next": refusals[-1] if refusals else None}
        if rows:
            found[name] |= summary([passed[rows]], rows * sequence)
    plan = setting.plan(max(1, found["lorabook"]["rows"]), sequence, checkpointing)
    return found | {"estimate": estimate(config, plan).predicted_peak, "dry_run": dry_run(config, plan).peak}


def line(row: dict[str, Any], name: str) -> str:
    """One row of either table."""
    of = row[name]
    rows = of.get("rows", row.get("rows"))
    again = {True: "recomputed", False: "kept"}[row.get("checkpointing", True)]
    start = f"{rows:>5} × {row['sequence']:<5} {again:11} {name:9}"
    if "peak" not in of:
        return f"{start} {of.get('failed', of.get('refused_next'))}"
    beside = [row["estimate"], row["dry_run"]] if name == "lorabook" else []
    cells = (f"{size / MIB:>10,.1f}" for size in (of["peak"], *beside))
    return f"{start} {of['tokens_per_second']:>9,.0f} {' '.join(cells):32}  {of['attention']}"


def measure(setting: Setting, turns: int, run: Run) -> dict[str, Any]:
    """Both tables, printed as they come."""
    head = f"{'rows':>5} × {'tokens':5} {'activations':11} {'':9} {'tokens/s':>9} {'peak MiB':>10} {'estimate':>10}"
    head += f" {'dry run':>10}  attention"
    print(f"\nThe same {setting.tokens:,} tokens a step\n{head}")
    same, most = [], []
    for sequence in setting.sequences:
        same.append(same_tokens(setting, sequence, turns, run))
        print("\n".join(line(same[-1], name) for name in CONTENDERS), flush=True)
    print(f"\nThe most rows within {setting.cap / MIB:,.0f} MiB\n{head}")
    for sequence, checkpointing in setting.searches:
        most.append(largest_batches(setting, sequence, checkpointing, run))
        print("\n".join(line(most[-1], name) for name in CONTENDERS), flush=True)
        rows = most[-1]["lorabook"]["rows"], most[-1]["lorabook"]["estimated_rows"]
        print(f"{'':14}lorabook trains {rows[0]} rows; the estimate said {rows[1]}", flush=True)
    return {"same_tokens": same, "largest": most}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a tiny model on the CPU, in this process")
    parser.add_argument("--turns", type=int, default=3, help="runs of each contender on the same tokens")
    parser.add_argument("--output", type=Path, help=f"JSON file; {RESULT.name} in results, and none with --tiny")
    args = parser.parse_args()
    if not args.tiny and not torch.cuda.is_available():
        print("skipped: no CUDA GPU is there (--tiny runs the same code with a tiny model on the CPU)")
        return
    setting = t4.SETTINGS["cpu" if args.tiny else "cuda"]()
    machine: dict[str, Any] = {"gpu": None, "gpu_bytes": None, "capability": None}
    if not args.tiny:
        gpu = torch.cuda.get_device_properties(0)
        machine = {"gpu": gpu.name, "gpu_bytes": gpu.total_memory, "capability": [gpu.major, gpu.minor]}
    terms = {"cap_bytes": setting.cap, "capability": t4.T4, "attention_off": ["flash", "cudnn"]}
    facts = machine | {"terms": terms if not args.tiny else None, "model": setting.model, "lora": asdict(t4.LORA)}
    print(f"{setting.model} on {machine['gpu'] or 'the CPU'}, torch {torch.__version__}; r = {t4.LORA.r}")
    facts |= measure(setting, args.turns, t4.work if args.tiny else in_its_own_process)
    output = args.output or (None if args.tiny else RESULT)
    if output:
        records.write(output, "benchmarks/gpu.py", facts)


if __name__ == "__main__":
    main()
