"""What each factor of Fastfood is for, what SAID's scales are worth, where Fastfood is cheaper than a dense P.

    python -m scripts.assets.fastfood_factors

1. "digits": a network of 4,810 parameters on the 1,797 images of 8 x 8 pixels that ship with the book, trained in d of
   DIMENSIONS dimensions with the whole product H G Pi H B, with factors switched off, and with a dense Gaussian P. The
   learning rate of every variant at every d is chosen by the mean accuracy on VALIDATION images over RATE_SEEDS
   (0.1 * 2^k; the search goes on until the best rate has a worse one on either side). The accuracy on TEST other images
   is that of ten other seeds. A seed draws network and projection.
2. "said": the pocket model in d = 1,000 dimensions on the bundled sample, with DID and with SAID, each at its own rate,
   chosen by the loss on validation examples over RATE_SEEDS; then SAID_SEEDS others, with the loss on test examples and
   SAID's scales. "blocks" is a permutation test of whether the scales depend on the block: the statistic is the
   variance of the blocks' means, and under the null hypothesis the blocks of a seed may be interchanged.
3. "cost": arithmetic operations of P theta for the pocket model, counted by PyTorch while the library's transform runs,
   beside those of the butterfly and of a dense P, and the d where a dense P costs as much.

Runs are kept in build/fastfood_factors and not repeated. Writes
lorabook/assets/results/fastfood/fastfood_factors.json.
"""

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lorabook.data import stackoverflow
from lorabook.data.examples import encode_all
from lorabook.data.split import split
from lorabook.models import load_model
from lorabook.step.config import TrainConfig
from lorabook.subspace.fastfood import FastfoodProjection
from lorabook.subspace.training import apply_subspace, remove_subspace
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune
from lorabook.workbook.fastfood import factors
from lorabook.workbook.fastfood.factors import D
from lorabook.workbook.kit.digits import load_digits
from scripts.assets import records
from scripts.assets.pocket_runs import kept, search

RESULT = Path("lorabook/assets/results/fastfood/fastfood_factors.json")
RUNS = Path("build/fastfood_factors")

DIMENSIONS, STEPS, RATE = (16, 64, 256, 1024, 4096), 150, 0.1
L = 2 ** math.ceil(math.log2(D))
VARIANTS = (*factors.SWITCHED_OFF, "dense")
RATE_SEEDS, SEEDS = (100, 101, 102), tuple(range(10))
VALIDATION, TEST = 300, 500

d, SAID_RATE, SAID_SEEDS = 1000, 0.05, tuple(range(12))
POCKET = {"steps": 20, "batch_tokens": 1024, "log_every": 0}
MAX_LENGTH, HELD_ROWS, PERMUTATIONS = 384, 32, 20_000


def projection(size: int, seed: int, variant: str) -> Tensor:
    """P (D, size), its columns of unit length on average."""
    if variant == "dense":
        return factors.unit(torch.randn(D, size, generator=torch.Generator().manual_seed(seed)))
    return factors.unit(factors.columns(L, size, seed, variant)[:D])


def images() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x and y of the training, the validation and the test images."""
    x, y = load_digits()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    test, validation, train = order.split((TEST, VALIDATION, len(x) - TEST - VALIDATION))
    return x[train], y[train], x[validation], y[validation], x[test], y[test]


def reached(size: int, variant: str, k: int, seed: int) -> dict:
    """Accuracies of one network on the validation and the test images."""
    x, y, *held = images()
    P, theta0 = projection(size, seed, variant), factors.start(seed)
    theta = theta0 + P @ factors.train(P, theta0, x, y, STEPS, RATE * 2.0**k)
    validation, test = (factors.accuracy(theta, held[i], held[i + 1]) for i in (0, 2))
    return {"validation": round(validation, 4), "test": round(test, 4)}


def digits_at(size: int, variant: str) -> dict:
    """One variant at one d: its rates with their validation accuracy, and the test accuracy of every seed."""

    def error(k: int) -> float:
        return 1 - sum(reached(size, variant, k, seed)["validation"] for seed in RATE_SEEDS) / len(RATE_SEEDS)

    tried = search(error, (-1, 0, 1))
    best = min(tried, key=lambda k: tried[k])
    found = {
        "lr": RATE * 2.0**best,
        "rates": {f"{RATE * 2.0**k:g}": round(1 - tried[k], 4) for k in sorted(tried)},
        "test": [reached(size, variant, best, seed)["test"] for seed in SEEDS],
    }
    print(size, variant or "whole", found["lr"], f"{sum(found['test']) / len(SEEDS):.3f}", flush=True)
    return found


def digits() -> dict:
    config = {"steps": STEPS, "D": D, "L": L, "hidden": factors.HIDDEN, "validation": VALIDATION, "test": TEST}
    config |= {"rate_seeds": RATE_SEEDS, "seeds": SEEDS}
    file = "digits-{}-{}.json"
    return config | {
        "runs": {
            str(size): {
                variant: kept(
                    RUNS / file.format(size, variant or "whole"), config, lambda s=size, v=variant: digits_at(s, v)
                )
                for variant in VARIANTS
            }
            for size in DIMENSIONS
        }
    }


def said() -> dict:
    """DID and SAID on the pocket model."""
    loaded = load_model("pocket", device="cpu")
    train, held = (encode_all(p, loaded.tokenizer, MAX_LENGTH) for p in split(stackoverflow.load("sample").pairs, 64))
    validation, test = held[:HELD_ROWS], held[HELD_ROWS:]

    def run(method: str, k: int, seed: int) -> dict:
        def make() -> dict:
            subspace = apply_subspace(loaded.model, d, method, seed=seed)  # pyright: ignore
            config = TrainConfig(lr=SAID_RATE * 2.0**k, seed=seed, **POCKET)
            finetune(loaded.model, train, held[:1], config)
            facts = {name: round(answer_loss(loaded.model, rows).loss, 4) for name, rows in (
                ("validation", validation), ("test", test))}  # fmt: skip
            if subspace.lambdas is not None:
                facts["lambdas"] = [round(value, 4) for value in subspace.lambdas.tolist()]
            remove_subspace(loaded.model)
            print(method, k, seed, facts["validation"], facts["test"], flush=True)
            return facts

        key = {"method": method, "k": k, "seed": seed, "d": d, "held": HELD_ROWS, "length": MAX_LENGTH, **POCKET}
        return kept(RUNS / f"{method}-k{k}-s{seed}.json", key, make)

    tensors = {n.removeprefix("transformer."): list(p.shape) for n, p in loaded.model.named_parameters()}
    found: dict = {"d": d, "max_length": MAX_LENGTH, "validation": len(validation), "test": len(test), **POCKET}
    found |= {"rate_seeds": RATE_SEEDS, "seeds": SAID_SEEDS, "tensors": tensors}
    found["base"] = {"test": round(answer_loss(loaded.model, test).loss, 4)}
    for method in ("did", "said"):

        def mean(k: int, method: str = method) -> float:
            return sum(run(method, k, seed)["validation"] for seed in RATE_SEEDS) / len(RATE_SEEDS)

        tried = search(mean, (-1, 0, 1))
        best = min(tried, key=lambda k: tried[k])
        rates = {f"{SAID_RATE * 2.0**k:g}": round(tried[k], 4) for k in sorted(tried)}
        found[method] = {
            "lr": SAID_RATE * 2.0**best,
            "rates": rates,
            "runs": [run(method, best, s) for s in SAID_SEEDS],
        }
    found["blocks"] = permutation_test([r["lambdas"] for r in found["said"]["runs"]], tensors)
    return found


def permutation_test(
    lambdas: list[list[float]], tensors: dict[str, list[int]], permutations: int = PERMUTATIONS
) -> dict:
    """Whether the scales of matrices depend on the block: mean scale by block, and the p-value.

    Args:
        lambdas: for every seed the scale of every tensor.
        tensors: their shapes by name. Vectors, such as those of a LayerNorm, are left out.
    """
    matrices = [(i, name.split(".")) for i, (name, shape) in enumerate(tensors.items()) if len(shape) == 2]
    blocks = sorted({int(name[1]) for _, name in matrices if name[0] == "h"})
    of_block = [[i for i, name in matrices if name[:2] == ["h", str(block)]] for block in blocks]
    values = torch.tensor([[sum(scales[i] for i in group) / len(group) for group in of_block] for scales in lambdas])
    generator = torch.Generator().manual_seed(0)
    observed = values.mean(0).var().item()
    as_large = 0
    for _ in range(permutations):
        shuffled = values.gather(1, torch.rand(values.shape, generator=generator).argsort(1))
        as_large += shuffled.mean(0).var().item() >= observed
    means = [round(mean, 4) for mean in values.mean(0).tolist()]
    errors = [round(e, 4) for e in (values.std(0) / len(values) ** 0.5).tolist()]
    return {"means": means, "standard_errors": errors, "p": round((as_large + 1) / (permutations + 1), 5)}


def cost() -> dict:
    """Operations of one P theta for the pocket model: a multiplication and an addition are two."""
    moved = sum(p.numel() for p in load_model("pocket", device="cpu").model.parameters())
    p = FastfoodProjection(1000, moved, 0)
    with FlopCounterMode(display=False) as counter:
        p(torch.zeros(1000))
    padded = 2 ** math.ceil(math.log2(moved))
    diagonals = 3 * padded  # B, G and 1 / c
    transform = counter.get_total_flops() + diagonals
    textbook = 2 * padded * int(math.log2(padded)) + diagonals
    return {
        "D": moved,
        "L": padded,
        "operations": {"fastfood": transform, "butterfly": textbook, "dense per dimension": 2 * moved},
        "crossing": {"fastfood": round(transform / (2 * moved), 1), "butterfly": round(textbook / (2 * moved), 1)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    found = {"digits": digits(), "cost": cost(), "said": said()}
    print(f"{RESULT}: {records.write(RESULT, 'scripts/assets/fastfood_factors.py', found):,} bytes")


if __name__ == "__main__":
    main()
