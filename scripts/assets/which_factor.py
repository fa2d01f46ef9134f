"""Which factor should start at zero, A or B? One layer of real size, and the whole pocket model.

    python -m scripts.assets.which_factor

Both starts draw the other factor from the same normal distribution, of standard deviation 1 / sqrt(3 k), which is that
of the library's own start; so neither is favoured by a larger factor. Hayou et al. 2024 (arXiv 2406.08447) compare A
random, B zero with A zero, B random.

- "layer": the matrix LAYER of the pocket model, 1,024 x 256. Its inputs are the real ones at the tokens of the bundled
  sample, and the target is the change dW that full fine-tuning on the sample makes there. LoRA of rank R is trained for
  LAYER_STEPS steps of AdamW to match dW x; the error is that of held-out tokens over the mean square of dW x.
- "model": LoRA of rank R on all linear layers, 24 steps on the bundled sample; the loss of held-out answers.

The learning rate of each start is the best of 1e-3 * 2^k on a validation split, by the mean of RATE_SEEDS (the search
goes on until the best rate has a worse one on either side). SEEDS are others, measured on a test split. "p" is the
two-sided p-value of a sign-flip permutation test on the paired differences.

Runs are kept in build/which_factor and not repeated. Writes lorabook/assets/results/from_scratch/which_factor.json.
"""

import argparse
import math
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from lorabook import LoRAConfig, apply_lora
from lorabook.data import stackoverflow
from lorabook.data.examples import Example, encode_all
from lorabook.data.split import split
from lorabook.lora import LoRALinear, matched
from lorabook.models.load import load_model
from lorabook.step.config import TrainConfig
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune
from scripts.assets import records
from scripts.assets.pocket_runs import kept, search

RESULT = Path("lorabook/assets/results/from_scratch/which_factor.json")
RUNS = Path("build/which_factor")
LAYER, R, ALPHA = "transformer.h.2.mlp.c_fc", 8, 16
LAYER_STEPS, LAYER_BATCH = 200, 256
STARTS = ("B zero", "A zero")
RATE_SEEDS, SEEDS = (100, 101, 102), tuple(range(20))
MAX_LENGTH, HELD = 256, 80
TRAIN = {"steps": 24, "batch_tokens": 2048, "log_every": 0}


@cache
def rows() -> tuple[list[Example], list[Example], list[Example]]:
    """Training, validation and test examples of the bundled sample."""
    tokenizer = load_model("pocket", device="cpu").tokenizer
    train, held = (encode_all(p, tokenizer, MAX_LENGTH) for p in split(stackoverflow.load("sample").pairs, HELD))
    return train, held[: HELD // 2], held[HELD // 2 :]


@cache
def layer_data(steps: int = TRAIN["steps"], examples: int | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    """dW (1024, 256) of LAYER after full fine-tuning, and its inputs x (tokens, 256) in three splits.

    `examples` bounds those of each split whose tokens are looked at.
    """
    model = load_model("pocket", device="cpu").model
    layer = model.get_submodule(LAYER)
    before = layer.get_parameter("weight").detach().clone()
    inputs = {}
    for name, part in zip(("train", "validation", "test"), rows()):
        seen: list[Tensor] = []
        hook = layer.register_forward_hook(lambda module, args, output, seen=seen: seen.append(args[0].flatten(0, -2)))
        with torch.no_grad():
            for example in part[:examples]:
                model(input_ids=torch.tensor([example.input_ids]), use_cache=False)
        hook.remove()
        inputs[name] = torch.cat(seen)
    model.requires_grad_(True)
    finetune(model, rows()[0], rows()[1][:1], TrainConfig(lr=1e-3, seed=0, **TRAIN | {"steps": steps}))
    return layer.get_parameter("weight").detach() - before, inputs


def factors(start: str, d: int, k: int, seed: int) -> tuple[nn.Parameter, nn.Parameter]:
    """A (r, k) and B (d, r), one of them zero."""
    generator = torch.Generator().manual_seed(seed)
    A, B = (torch.randn(shape, generator=generator) / math.sqrt(3 * k) for shape in ((R, k), (d, R)))
    (B if start == "B zero" else A).zero_()
    return nn.Parameter(A), nn.Parameter(B)


def layer_errors(start: str, k: int, seed: int, steps: int = LAYER_STEPS, data: tuple | None = None) -> dict:
    """The relative errors of one layer on both held-out splits; `data` is what `layer_data` returns."""
    dW, inputs = data or layer_data()
    A, B = factors(start, *dW.shape, seed)
    lr = 1e-3 * 2.0**k
    optimizer = torch.optim.AdamW([A, B], lr=lr, weight_decay=0.0)
    generator = torch.Generator().manual_seed(seed)
    scale = (inputs["train"] @ dW.T).square().mean()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
        x = inputs["train"][torch.randint(len(inputs["train"]), (LAYER_BATCH,), generator=generator)]
        error = ALPHA / R * x @ A.T @ B.T - x @ dW.T
        (error.square().mean() / scale).backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        found = {}
        for name in ("validation", "test"):
            x = inputs[name]
            target = x @ dW.T
            found[name] = ((ALPHA / R * x @ A.T @ B.T - target).square().mean() / target.square().mean()).item()
    return {name: round(value, 5) for name, value in found.items()}


def model_losses(start: str, k: int, seed: int) -> dict:
    """The losses of the whole model on both held-out splits."""
    model = load_model("pocket", device="cpu").model
    apply_lora(model, LoRAConfig(R, ALPHA, targets=("all-linear",), seed=seed))
    layers = [module for module in model.modules() if isinstance(module, LoRALinear)]
    for number, layer in enumerate(layers):
        A, B = factors(start, layer.B.shape[0], layer.A.shape[1], 1000 * seed + number)
        with torch.no_grad():
            layer.A.copy_(A)
            layer.B.copy_(B)
    train, validation, test = rows()
    finetune(model, train, validation[:1], TrainConfig(lr=1e-3 * 2.0**k, seed=seed, **TRAIN))
    return {n: round(answer_loss(model, part).loss, 4) for n, part in (("validation", validation), ("test", test))}


def compared(name: str, measured, start_k: int) -> dict:
    """Both starts, tuned; and the paired difference."""
    found: dict = {}
    for start in STARTS:

        def one(k: int, seed: int, start: str = start) -> dict:
            file = RUNS / f"{name}-{start.replace(' ', '-')}-k{k}-s{seed}.json"
            key = {"steps": LAYER_STEPS, "r": R, "alpha": ALPHA, "held": HELD, **TRAIN}
            return kept(file, key, lambda: measured(start, k, seed))

        tried = search(lambda k: sum(one(k, seed)["validation"] for seed in RATE_SEEDS) / len(RATE_SEEDS), [start_k])
        best = min(tried, key=lambda k: tried[k])
        found[start] = {
            "lr": 1e-3 * 2.0**best,
            "rates": {f"{1e-3 * 2.0**k:g}": round(tried[k], 5) for k in sorted(tried)},
            "test": [one(best, seed)["test"] for seed in SEEDS],
        }
        print(name, start, found[start]["rates"], sum(found[start]["test"]) / len(SEEDS), flush=True)
    difference = torch.tensor(found["A zero"]["test"]) - torch.tensor(found["B zero"]["test"])
    flips = torch.randint(0, 2, (20_000, len(SEEDS)), generator=torch.Generator().manual_seed(0)) * 2 - 1
    as_large = ((flips * difference).mean(1).abs() >= difference.mean().abs() - 1e-12).sum().item()
    found["A zero minus B zero"] = {
        "mean": round(difference.mean().item(), 5),
        "standard_error": round(difference.std().item() / math.sqrt(len(SEEDS)), 5),
        "p": round((as_large + 1) / 20_001, 5),
    }
    return found


def live() -> dict:
    """One layer, a short run of each start, for a test to repeat."""
    data = layer_data(steps=3, examples=8)
    return {start: layer_errors(start, 2, 0, steps=40, data=data)["test"] for start in STARTS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    base = load_model("pocket", device="cpu").model
    record = {
        "layer_name": LAYER,
        "r": R,
        "alpha": ALPHA,
        "seeds": SEEDS,
        "rate_seeds": RATE_SEEDS,
        "matrices": len(matched(base, ("all-linear",))),
        "layer": compared("layer", layer_errors, 2),
        "model": {"base": round(answer_loss(base, rows()[2]).loss, 4)} | compared("model", model_losses, 2),
        "live": live(),
    }
    print(f"{RESULT}: {records.write(RESULT, 'scripts/assets/which_factor.py', record):,} bytes")


if __name__ == "__main__":
    main()
