"""How much of full fine-tuning's improvement a random subspace of dimension d recovers, on the pocket model.

    python -m scripts.assets.subspace_curves --data FILE

One pass over the same rows of FILE, and the loss of the answers to held-out questions after it, for

- "pretrained": every parameter trained, and theta0 + P theta_d for every d of DIMENSIONS, from the pocket model;
- "random": the same architecture from its random initialisation, every parameter, and the d of RANDOM_DIMENSIONS.

Missing is the control d = D: where that falls short of full training too, the recipe costs it and not the dimension.

Every learning rate is tuned: on the grid BASE_RATE * 2^k the neighbour's best rate is tried with its two neighbours,
and the search goes on while the best is the last tried on its side. Columns of P have unit length, so a rate `lr` at
dimension d moves theta about as far as lr * sqrt(d / D) moves it in full training: that product is what neighbours
share. (That holds while d is much smaller than D. Near D, P stretches some steps and shrinks others.) Rates are tuned
with the first seed and on the held-out rows, and the best is run again with the other seeds. A seed draws the
projection, the order of the rows and, from random initialisation, the weights.

- "pairs": every parameter trained for PAIR_STEPS steps on the first 20, 80 and 240 pairs only, with the loss
  of the first PAIR_ROWS pairs, all of them trained on, and the held-out loss along the way;
- "live": LIVE_STEPS steps on the bundled sample in one subspace, which notebook 05 repeats, and with every parameter.

Finished runs are kept in build/subspace_curves and not repeated: after an interruption start it again.
Writes
lorabook/assets/results/intrinsic_dimension/subspace_curves.json, with the CPU seconds of every run: 33 minutes of one
core in all.
"""

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from lorabook.data.examples import Example
from lorabook.models import load_model
from lorabook.step.config import TrainConfig
from lorabook.subspace.training import apply_subspace
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune
from scripts.assets import records
from scripts.assets.pocket_runs import BATCH, MAX_LENGTH, kept, live_rows, real_rows, search

RESULT = Path("lorabook/assets/results/intrinsic_dimension/subspace_curves.json")
RUNS = Path("build/subspace_curves")
DIMENSIONS = (100, 316, 1_000, 3_162, 10_000, 31_623, 100_000, 316_228, 1_000_000, 3_000_000)
RANDOM_DIMENSIONS = (1_000, 100_000)
SEEDS, RANDOM_SEEDS = (0, 1), (0, 1)
BASE_RATE = 1e-3  # of full training
PAIRS, PAIR_STEPS, PAIR_EVERY, PAIR_ROWS = (20, 80, 240), 40, 10, 20
LIVE_D, LIVE_STEPS = 10_000, 24


@dataclass(frozen=True)
class Rows:
    """A set of rows by name; every run on it takes one pass, or `steps` steps."""

    name: str
    train: list[Example]
    held: list[Example]
    steps: int | None = None


@dataclass(frozen=True)
class Setting:
    """One run: d = None trains every parameter."""

    rows: str
    start: str
    d: int | None
    lr: float
    seed: int

    @property
    def file(self) -> Path:
        return RUNS / f"{self.rows}-{self.start}-{self.d or 'full'}-{self.lr:.3g}-{self.seed}.json"


def fresh(start: str, seed: int) -> nn.Module:
    """The pocket model, or its architecture with weights drawn anew."""
    model = load_model("pocket", device="cpu").model
    if start == "random":
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = type(model)(model.config)
    return model.requires_grad_(True)


def run(rows: Rows, setting: Setting, every: int = 0) -> dict:
    """The facts of one run; with `every`, also the losses along the way. Kept in a file of its own."""
    key = asdict(setting) | {"steps": rows.steps, "batch": BATCH, "rows": len(rows.train), "held": len(rows.held)}
    return kept(setting.file, key, lambda: measured(rows, setting, every))


def measured(rows: Rows, setting: Setting, every: int) -> dict:
    began = time.process_time()
    model = fresh(setting.start, setting.seed)
    if setting.d is not None:
        apply_subspace(model, setting.d, seed=setting.seed)
    config = TrainConfig(lr=setting.lr, steps=rows.steps, batch_tokens=BATCH, log_every=every, seed=setting.seed)
    seen = rows.train[:PAIR_ROWS]
    curve: list[list[float]] = []

    def measure(step: int) -> None:
        losses = [answer_loss(model, part).loss for part in (seen, rows.held)]
        curve.append([step, *(round(loss, 4) for loss in losses)])

    if every:
        measure(0)
    history = finetune(model, rows.train, rows.held, config, on_log=lambda h: measure(len(h.steps)))
    (_, base), (steps, tuned) = history.held_out[0], history.held_out[-1]
    facts = {"base": base, "tuned": tuned, "steps": steps, "tokens": history.tokens}
    facts |= {"curve": curve} if every else {}
    facts["cpu_seconds"] = round(time.process_time() - began, 1)
    print(
        f"{setting.file.stem}: {base:.4f} → {tuned:.4f}, {steps} steps, {facts['cpu_seconds']:.0f} s of CPU", flush=True
    )
    return facts


def tuned(rows: Rows, start: str, d: int | None, D: int, k: int, seeds: tuple[int, ...]) -> tuple[int, dict]:
    """Search the rate from BASE_RATE * 2^k on, then run the other seeds. Returns the best k and the results."""
    scale = math.sqrt(D / (d or D))

    def facts(k: int, seed: int = seeds[0]) -> dict:
        return run(rows, Setting(rows.name, start, d, rate(k), seed))

    def rate(k: int) -> float:
        return float(f"{BASE_RATE * 2**k * scale:.3g}")

    losses = search(lambda k: facts(k)["tuned"], (k, k + 1, k - 1))
    best = min(losses, key=lambda k: losses[k])
    results = [facts(best, seed) for seed in seeds]
    return best, {
        "d": d,
        "lr": rate(best),
        "losses": [round(r["tuned"], 4) for r in results],
        "bases": [round(r["base"], 4) for r in results],
        "steps": results[0]["steps"],
        "rates": {f"{rate(k):g}": round(losses[k], 4) for k in sorted(losses)},
        "cpu_seconds": [facts(k)["cpu_seconds"] for k in sorted(losses)] + [r["cpu_seconds"] for r in results[1:]],
    }


def curve(rows: Rows, start: str, dimensions: tuple[int, ...], D: int, seeds: tuple[int, ...]) -> dict:
    """Full training, then every d from the largest down, each rate found near that of the d before it."""
    k, full = tuned(rows, start, None, D, 0, seeds)
    points = []
    for d in sorted(dimensions, reverse=True):
        k, point = tuned(rows, start, d, D, k, seeds)
        points.append(point)
    return {"full": full, "points": points[::-1]}


def pairs(rows: Rows, lr: float) -> list[dict]:
    """Every parameter trained on few pairs for long."""
    result = []
    for count in PAIRS:
        few = Rows(f"{count}pairs", rows.train[:count], rows.held, PAIR_STEPS)
        runs = [run(few, Setting(few.name, "pretrained", None, lr, seed), PAIR_EVERY) for seed in SEEDS[:2]]
        tokens = sum(e.label_tokens for e in few.train)
        result.append({"pairs": count, "answer_tokens": tokens, "lr": lr, "curves": [r["curve"] for r in runs]})
        result[-1]["cpu_seconds"] = [r["cpu_seconds"] for r in runs]
    return result


def live(tokenizer, D: int, lr_d: float, lr_full: float) -> dict:
    """The short run that the notebook repeats, in every seed, and the same with every parameter trained."""
    rows = Rows("live", *live_rows(tokenizer), LIVE_STEPS)
    result = {"steps": LIVE_STEPS, "train": len(rows.train), "held_out": len(rows.held), "d": LIVE_D}
    for name, d, lr in (("subspace", LIVE_D, lr_d), ("full", None, lr_full)):
        runs = [run(rows, Setting("live", "pretrained", d, lr, seed)) for seed in SEEDS]
        result["base"] = round(runs[0]["base"], 4)
        result[name] = {"lr": lr, "losses": [round(r["tuned"], 4) for r in runs]}
        result[name]["cpu_seconds"] = [r["cpu_seconds"] for r in runs]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="real rows, as lorabook.data.stackoverflow.load reads them")
    args = parser.parse_args()
    RUNS.mkdir(parents=True, exist_ok=True)
    loaded = load_model("pocket", device="cpu")
    D = sum(p.numel() for p in loaded.model.parameters())
    train, held = real_rows(args.data, loaded.tokenizer)
    rows = Rows("real", train, held)
    record = {
        "model": "pocket",
        "D": D,
        "max_length": MAX_LENGTH,
        "batch_tokens": BATCH,
        "questions": len(train),
        "answer_tokens": sum(e.label_tokens for e in train),
        "held_out": len(held),
        "held_out_tokens": sum(e.label_tokens for e in held),
        "seeds": {"pretrained": SEEDS, "random": RANDOM_SEEDS},
    }
    record["pretrained"] = curve(rows, "pretrained", DIMENSIONS, D, SEEDS)
    rates = {p["d"]: p["lr"] for p in (record["pretrained"]["full"], *record["pretrained"]["points"])}
    record["pairs"] = pairs(rows, rates[None])
    record["live"] = live(loaded.tokenizer, D, rates[LIVE_D], rates[None])
    record["random"] = curve(rows, "random", RANDOM_DIMENSIONS, D, RANDOM_SEEDS)
    record["cpu_seconds"] = round(sum(json.loads(f.read_text())["facts"]["cpu_seconds"] for f in RUNS.glob("*.json")))
    size = records.write(RESULT, "scripts/assets/subspace_curves.py", record)
    print(f"{RESULT}: {size / 1000:.0f} kB, {record['cpu_seconds'] / 60:.0f} minutes of CPU")


if __name__ == "__main__":
    main()
