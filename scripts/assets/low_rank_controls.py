"""Does a good update need a high rank? Parts of ΔW put back onto the base, and ΔW scaled down.

    python -m scripts.assets.low_rank_controls --data FILE [--model pocket]     pocket: 15 minutes on a core

On the pocket model and on SmolLM2-135M, full fine-tuning trains the matrices of all linear layers on real questions, at
the learning rate that `rank_rules.py` chose. Of the change ΔW = tuned - base, the parts of `controls.parts` are put
back onto the base for every rank r of RANKS, and the loss is measured on the test split: the first r terms of each
matrix's SVD, all others, and for the energy of either, ΔW scaled down and a random choice of its entries. LoRA's own
losses, on the same questions, are in the result of `rank_rules.py`.

"live" is one short run on the bundled sample, which a test repeats.

Runs are kept in build/grid and not repeated, nor is one that is stored; to begin anew, delete the result. Writes
lorabook/assets/results/low_rank/controls.json.
"""

import json
import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from lorabook.lora import matched
from lorabook.models.load import load_model
from lorabook.training.evaluate import answer_loss
from lorabook.workbook.low_rank.controls import parts
from scripts.assets import grid, rank_rules, records
from scripts.assets.grid import Setting
from scripts.assets.pocket_runs import kept

RESULT = Path("lorabook/assets/results/low_rank/controls.json")
MODELS, RANKS, SEEDS = ("pocket", "smollm2"), (1, 4, 16, 64), (0, 1, 2)
LIVE = Setting("pocket", None)


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The matrices of the linear layers, as (d, k)."""
    return {name: model.get_submodule(name).get_parameter("weight") for name in matched(model, ("all-linear",))}


@torch.no_grad()
def put_back(model: nn.Module, base: dict[str, Tensor], test: list, ranks: tuple[int, ...] = RANKS) -> dict:
    """The test loss with each part of ΔW put back, and the first terms' fraction of its energy, by rank."""
    ours = weights(model)
    tuned = {name: weight.clone() for name, weight in ours.items()}
    change = {name: tuned[name] - base[name] for name in ours}
    losses: dict[str, dict[str, float]] = {}
    energy = {}
    for r in ranks:
        share, updates = parts(change, r)
        energy[str(r)] = round(share, 4)
        for way, update in updates.items():
            for name, weight in ours.items():
                weight.copy_(base[name] + update[name])
            losses.setdefault(way, {})[str(r)] = round(answer_loss(model, test).loss, 4)
            print(f"  rank {r}, {way}: {losses[way][str(r)]}", flush=True)
    return {"losses": losses, "energy": energy}


def base_weights(model: str) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in weights(load_model(model, device="cpu").model).items()}


def live(ranks: tuple[int, ...] = (4,)) -> dict:
    """The same on the bundled sample, a run short enough for a test to repeat."""
    model, held = grid.live(LIVE)
    whole = round(answer_loss(model, held).loss, 4)
    return {"whole": whole} | put_back(model, base_weights("pocket"), held, ranks)


def experiment(model: str, data: str) -> dict:
    """Full fine-tuning with every seed, and the losses of the parts."""
    rules = json.loads(rank_rules.RESULT.read_text())["models"][model]
    stored = json.loads(RESULT.read_text())["models"].get(model, {}) if RESULT.exists() else {}
    runs = {run["seed"]: run for run in stored.get("runs", [])}
    base, (_, _, test) = base_weights(model), grid.splits(model, data)
    best = rank_rules.setting(model, None, k=exponent(rules["ranks"]["full"]["lr"]))
    for seed in SEEDS:
        if seed in runs:
            continue
        setting = replace(best, seed=seed)
        facts = grid.tested(setting, data)
        key = setting.key | {"ranks": RANKS, "test": grid.TEST, "controls": "scaled and random, of the same energy"}
        with grid.arithmetic(setting.half):
            found = kept(setting.folder / "parts.json", key, lambda s=setting: put_back(grid.model_of(s), base, test))
        runs[seed] = {"seed": seed} | facts | found
    return {"base": grid.base_losses(model, data, best.half)["test"], "runs": [runs[seed] for seed in SEEDS]}


def exponent(rate: float) -> int:
    """k of a learning rate 1e-3 * 2^k."""
    return round(math.log2(rate / 1e-3))


def main() -> None:
    found = grid.by_model(__doc__, RESULT, MODELS, experiment)
    record = {
        "questions": rank_rules.QUESTIONS,
        "max_length": grid.MAX_LENGTH,
        "validation": grid.VALIDATION,
        "test": grid.TEST,
        "batch_tokens": grid.BATCH_TOKENS,
        "ranks": RANKS,
        "models": found,
        "live": live(),
    }
    print(f"{RESULT}: {records.write(RESULT, 'scripts/assets/low_rank_controls.py', record):,} bytes")


if __name__ == "__main__":
    main()
