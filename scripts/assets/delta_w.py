"""What full fine-tuning does to the weights of the pocket model: the singular values of ΔW, and the loss without most.

    python -m scripts.assets.delta_w --data FILE --rows 1500

Every parameter is trained (AdamW, rank nowhere limited), on two sets of rows:

- "long": one epoch of the first `--rows` rows of FILE, at each of RATES; the best rate again in other orders of rows;
- "short": SHORT_STEPS steps on the bundled sample at the same rate, which notebook 04 repeats.

ΔW = tuned - base, for the four matrices of each block and the two embeddings. Then ΔW is cut to rank r (the closest
matrix of that rank) and the held-out loss is measured, for every r of RANKS, in two ways:

- "blocks": the 16 matrices of the blocks are cut, everything else keeps its whole update;
- "all": the embeddings are cut too; LayerNorms and biases, which are no matrices, keep their whole update.

Rank 0 takes the update out. Runs are kept in build/delta_w and continued there: after an interruption start it again.
Writes lorabook/assets/results/low_rank/delta_w.json. About 20 minutes on two quiet cores.
"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from lorabook.data import stackoverflow
from lorabook.data.examples import Example, encode_all
from lorabook.data.split import split
from lorabook.lora import matched
from lorabook.models import load_model
from lorabook.step.config import TrainConfig
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune
from lorabook.workbook.low_rank.svd import energy_kept, spectrum, truncated_svd
from scripts.assets import records

RESULT = Path("lorabook/assets/results/low_rank/delta_w.json")
RUNS = Path("build/delta_w")
RATES = (5e-4, 1e-3, 2e-3)
SEEDS = (0, 1, 2)
RANKS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)
MAX_LENGTH = 512
LONG_HELD, SHORT_HELD = 120, 0.2  # questions, share of the questions
SHORT_STEPS, SHORT_TOKENS = 24, 2048
WAYS = ("blocks", "all")


def rounded(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]


def matrices(model: nn.Module) -> list[str]:
    """The matrices of the blocks, then the embeddings. (The output head is the token embedding.)"""
    return [*matched(model, ("all-linear",)), *matched(model, ("wte", "wpe"))]


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: model.get_submodule(name).weight for name in matrices(model)}  # pyright: ignore


def short_name(name: str) -> str:
    return name.removeprefix("transformer.").removeprefix("h.")


def train(name: str, config: TrainConfig, rows: list[Example], held: list[Example]) -> tuple[nn.Module, dict]:
    """The tuned model, and what there is to say about its run."""
    model = load_model("pocket").model
    model.requires_grad_(True)
    history = finetune(model, rows, held, config, output=RUNS / name, resume=True)
    (_, base), (steps, tuned) = history.held_out[0], history.held_out[-1]
    facts = {
        "seed": config.seed,
        "lr": config.lr,
        "steps": steps,
        "tokens": history.tokens,
        "base": base,
        "tuned": tuned,
    }
    print(f"{name}: {base:.4f} → {tuned:.4f}, {history.tokens_per_second:,.0f} tokens/s", flush=True)
    return model, facts


@torch.no_grad()
def cut_losses(model: nn.Module, base: dict[str, Tensor], held: list[Example]) -> dict[str, list[float]]:
    """The held-out loss at every rank of RANKS, in both ways. Leaves the model as it was."""
    ours = weights(model)
    tuned = {name: weight.clone() for name, weight in ours.items()}
    factors = {name: truncated_svd(tuned[name] - base[name], min(base[name].shape)) for name in ours}
    losses: dict[str, list[float]] = {way: [] for way in WAYS}
    for r in RANKS:
        for way in WAYS:
            for name, weight in ours.items():
                U, S, Vh = factors[name]
                whole = way == "blocks" and name.startswith("transformer.w")
                weight.copy_(tuned[name] if whole else base[name] + (U[:, :r] * S[:r]) @ Vh[:r])
            losses[way].append(answer_loss(model, held).loss)
    for name, weight in ours.items():
        weight.copy_(tuned[name])
    return losses


def measured(name: str, config: TrainConfig, rows: list[Example], held: list[Example], base: dict) -> tuple[dict, dict]:
    """A run's facts with the losses of its cut updates and the energy they keep; and the singular values of its ΔW."""
    kept = RUNS / name / "measured.json"
    if kept.exists() and (stored := json.loads(kept.read_text()))["config"] == asdict(config):
        return stored["facts"], stored["spectra"]
    model, facts = train(name, config, rows, held)
    facts["loss"] = {way: [round(loss, 4) for loss in losses] for way, losses in cut_losses(model, base, held).items()}
    values = {short_name(n): spectrum(w - base[n]) for n, w in weights(model).items()}
    facts["energy"] = {n: rounded(energy_kept(s, r) for r in RANKS) for n, s in values.items()}
    spectra = {n: rounded(s.tolist()) for n, s in values.items()}
    kept.write_text(json.dumps({"config": asdict(config), "facts": facts, "spectra": spectra}))
    print(f"{name}: {facts['loss']}", flush=True)
    return facts, spectra


def experiment(name: str, source: str, rows: int | None, held_out: float, rates: tuple[float, ...], **more) -> dict:
    """All runs on one set of rows: each rate with the first seed, the best rate with the others."""
    loaded = load_model("pocket")
    base = {n: w.detach().clone() for n, w in weights(loaded.model).items()}
    pairs = stackoverflow.load(source, rows=rows).pairs
    train_rows, held = (encode_all(p, loaded.tokenizer, MAX_LENGTH) for p in split(pairs, held_out))
    configs = {rate: TrainConfig(lr=rate, log_every=0, **more) for rate in rates}
    tried = {rate: train(f"{name}-{rate:g}-0", c, train_rows, held)[1]["tuned"] for rate, c in configs.items()}
    best = min(tried, key=lambda rate: tried[rate])
    runs, spectra = [], {}
    for seed in SEEDS:
        config = TrainConfig(lr=best, log_every=0, seed=seed, **more)
        facts, values = measured(f"{name}-{best:g}-{seed}", config, train_rows, held, base)
        runs.append(facts)
        spectra = spectra or values
    return {
        "rows": rows,
        "questions": len(train_rows),
        "held_out": len(held),
        "held_out_tokens": sum(e.label_tokens for e in held),
        "config": {"lr": best, "log_every": 0, **more},
        "rates": {f"{rate:g}": round(loss, 4) for rate, loss in tried.items()},
        "runs": runs,
        "delta": spectra,
    }


def references() -> dict:
    """The singular values of every W0, and of one matrix of standard normal numbers for every shape."""
    ours = weights(load_model("pocket").model)
    shapes = {tuple(w.shape) for w in ours.values()}
    generator = torch.Generator().manual_seed(0)
    noise = {shape: torch.randn(shape, generator=generator) for shape in sorted(shapes)}
    return {
        "shapes": {short_name(n): list(w.shape) for n, w in ours.items()},
        "W0": {short_name(n): rounded(spectrum(w).tolist()) for n, w in ours.items()},
        "noise": {f"{d} x {k}": rounded(spectrum(m).tolist()) for (d, k), m in noise.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="real rows, as lorabook.data.stackoverflow.load reads them")
    parser.add_argument("--rows", type=int, default=1500)
    args = parser.parse_args()
    long = experiment("long", args.data, args.rows, LONG_HELD, RATES)
    rate = long["config"]["lr"]
    short = experiment("short", "sample", None, SHORT_HELD, (rate,), steps=SHORT_STEPS, batch_tokens=SHORT_TOKENS)
    del short["rates"]
    record = {
        "model": "pocket",
        "max_length": MAX_LENGTH,
        "ranks": list(RANKS),
        "long": long,
        "short": short,
        **references(),
    }
    size = records.write(RESULT, "scripts/assets/delta_w.py", record)
    print(f"{RESULT}: {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
