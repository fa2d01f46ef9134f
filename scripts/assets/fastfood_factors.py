"""What each factor of Fastfood is for, SAID's scales among them: writes results/fastfood/fastfood_factors.json.

    python -m scripts.assets.fastfood_factors

1. Digits: a network of 1,810 parameters on scikit-learn's 1,797 images of 8 x 8 pixels, 500 of them held out, trained
   in d = 16, 64 and 256 dimensions with the whole product H G Pi H B and with factors switched off; ten seeds of
   network and projection each. One rate for all, 0.1: of 0.03, 0.1 and 0.3 the best for the whole product at d = 256,
   and within two percentage points of the best at 16 and 64.
2. The pocket model in d = 1,000 dimensions on the bundled questions, 20 steps with SAID, at the better of two rates by
   held-out loss at the first seed, four seeds: what its scales become. The seed draws the projection and the order of
   rows.

Every run is kept in build/fastfood_factors/, so that a second call goes on where the first stopped. Some five minutes
on two cores.
"""

import argparse
import json
from pathlib import Path

import torch

from lorabook.data import stackoverflow
from lorabook.data.examples import encode_all
from lorabook.data.split import split
from lorabook.models import load_model
from lorabook.step.config import TrainConfig
from lorabook.subspace.training import apply_subspace, remove_subspace
from lorabook.training.loop import finetune
from lorabook.workbook.fastfood import factors
from lorabook.workbook.kit.digits import load_digits
from scripts.assets import records

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "lorabook/assets/results/fastfood/fastfood_factors.json"
RUNS = ROOT / "build/fastfood_factors"

DIMENSIONS, DIGIT_SEEDS, HELD_IMAGES, STEPS, LR = (16, 64, 256), 10, 500, 150, 0.1
L = 2048
d, SEEDS, RATES = 1000, 4, (0.03, 0.1)
POCKET = {"steps": 20, "batch_tokens": 1024, "log_every": 0}
MAX_LENGTH, HELD_ROWS = 384, 16


def kept(name: str, run) -> dict:
    """The result of `run()`, from the file of an earlier call if there is one."""
    path = RUNS / f"{name}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(run()))
        print(name, path.read_text()[:100], flush=True)
    return json.loads(path.read_text())


def digits() -> dict:
    """Accuracy on held-out images by dimension and what is switched off, one for each seed."""
    x, y = load_digits()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    held, seen = order[:HELD_IMAGES], order[HELD_IMAGES:]

    def reached(size: int, off: str, seed: int) -> float:
        P = factors.unit(factors.columns(L, size, seed, off)[: factors.D])
        theta0 = factors.start(seed)
        theta = theta0 + P @ factors.train(P, theta0, x[seen], y[seen], STEPS, LR)
        return round(factors.accuracy(theta, x[held], y[held]), 4)

    def accuracies(size: int) -> dict:
        return {off: [reached(size, off, seed) for seed in range(DIGIT_SEEDS)] for off in factors.SWITCHED_OFF}

    config = {"steps": STEPS, "lr": LR, "seeds": DIGIT_SEEDS, "held_out": HELD_IMAGES, "D": factors.D, "L": L}
    return config | {
        "accuracy": {str(size): kept(f"digits-{size}", lambda size=size: accuracies(size)) for size in DIMENSIONS}
    }


def pocket() -> dict:
    """Held-out loss before and after SAID, and its scales, for each seed."""
    loaded = load_model("pocket", device="cpu")
    pairs = stackoverflow.load("sample").pairs
    train, held = (encode_all(p, loaded.tokenizer, MAX_LENGTH) for p in split(pairs, 0.2))

    def run(rate: float, seed: int) -> dict:
        subspace = apply_subspace(loaded.model, d, "said", seed=seed)
        history = finetune(loaded.model, train, held[:HELD_ROWS], TrainConfig(lr=rate, seed=seed, **POCKET))
        remove_subspace(loaded.model)
        assert subspace.lambdas is not None
        (_, base), *_, (_, tuned) = history.held_out
        lambdas = [round(value, 4) for value in subspace.lambdas.tolist()]
        return {"base": round(base, 4), "tuned": round(tuned, 4), "lambdas": lambdas}

    def seen(rate: float, seed: int) -> dict:
        return kept(f"said-{rate:g}-{seed}", lambda: run(rate, seed))

    tried = {rate: seen(rate, 0)["tuned"] for rate in RATES}
    best = min(tried, key=lambda rate: tried[rate])
    return {
        "d": d,
        "max_length": MAX_LENGTH,
        "held_out": HELD_ROWS,
        **POCKET,
        "lr": best,
        "rates": {f"{rate:g}": loss for rate, loss in tried.items()},
        "runs": [seen(best, seed) for seed in range(SEEDS)],
        "tensors": {n.removeprefix("transformer."): list(p.shape) for n, p in loaded.model.named_parameters()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    size = records.write(RESULT, "scripts/assets/fastfood_factors.py", {"digits": digits(), "pocket": pocket()})
    print(f"{RESULT.relative_to(ROOT)}: {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
