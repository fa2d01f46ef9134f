"""Ten ways to ruin a fine-tune of the pocket model, each beside the same run without the fault.

    python -m scripts.assets.broken_runs

The faults are those of `tests/kit/broken_runs/faults.py`, the runs those of `short_run.py` beside it: LoRA on all
linear layers, 24 steps of 1,024 tokens of the bundled sample (96 where it overfits). A case is a fault and a seed,
which draws the factors and the order of the rows: two a fault, three where the verdict depends on the draw. Stored is
what `lorabook doctor --run` reads in the folder that a run left, rounded to four digits, without the fingerprints'
samples.

Finished runs are kept in build/broken_runs and not repeated: after an interruption start it again. Writes
tests/kit/broken_runs/stored.json, with the CPU seconds of all runs. About 6 minutes of CPU.
"""

import json
import time
from pathlib import Path
from typing import Any

import torch

from lorabook.diagnosis.read_run import Run
from scripts.assets import records
from scripts.assets.pocket_runs import kept
from tests.kit.broken_runs.faults import FAULTS
from tests.kit.broken_runs.short_run import BATCH, MAX_LENGTH, STEPS, train
from tests.kit.broken_runs.user_code import UserCode

RESULT = Path("tests/kit/broken_runs/stored.json")
RUNS = Path("build/broken_runs")
SEEDS = {
    "labels shifted": (0, 12),
    "gradient cut off": (1, 14),
    "scaling is not α/r": (2, 8, 9),
    "EOS never a label": (3, 16),
    "both factors zero": (4, 18),
    "adapter on another base": (5, 20),
    "learning rate too high": (6, 10, 11),
    "all labels masked": (7, 22),
    "loss flat": (23, 24),
    "overfitting": (25, 26),
}


def rounded(value: Any) -> Any:
    """Floats to four digits, wherever they stand."""
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(v) for v in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def stored(run: Run) -> dict:
    found = rounded(run.to_json())
    for known in (found["record"]["base"], found["record"]["trained_on"], found["saved_on"]):
        if known:
            known["sample"] = known["left_alone"] = []
    return found


def measured(name: str, sick: bool, seed: int) -> dict:
    """What one run left, and the CPU seconds it took, kept in a file of its own."""
    folder = RUNS / f"{list(FAULTS).index(name)}-{'broken' if sick else 'fixed'}-{seed}"
    key = {"fault": name, "steps": STEPS, "batch": BATCH}

    def measure() -> dict:
        began = time.process_time()
        run = train(name, FAULTS[name].code() if sick else UserCode(), folder, seed, other_base=sick)
        print(f"{name}, {'broken' if sick else 'fixed'}, seed {seed}: {run.history.held_out}", flush=True)
        return {"run": stored(run), "first": first(folder), "cpu_seconds": round(time.process_time() - began, 1)}

    return kept(folder / "kept.json", key, measure)


def first(folder: Path) -> float | None:
    """The held-out loss at which the run of the adapter ended that this run went on with."""
    path = folder / "first" / "history.json"
    return rounded(json.loads(path.read_text())["held_out"][-1][1]) if path.exists() else None


def case(name: str, seed: int) -> dict:
    broken, fixed = measured(name, True, seed), measured(name, False, seed)
    runs = {"seed": seed, "broken": broken["run"], "fixed": fixed["run"], "first": broken["first"]}
    return runs | {"cpu_seconds": broken["cpu_seconds"] + fixed["cpu_seconds"]}


def main() -> None:
    torch.set_num_threads(1)
    cases = {name: [case(name, seed) for seed in seeds] for name, seeds in SEEDS.items()}
    record = {"model": "pocket", "steps": STEPS, "batch_tokens": BATCH, "max_length": MAX_LENGTH}
    size = records.write(RESULT, "scripts/assets/broken_runs.py", record | {"cases": cases})
    seconds = sum(each["cpu_seconds"] for runs in cases.values() for each in runs)
    print(f"{RESULT}: {size / 1000:.0f} kB, {seconds / 60:.1f} minutes of CPU")


if __name__ == "__main__":
    main()
