"""Does a good update need a high rank? LoRA trained at rank r, beside parts of ΔW and ΔW scaled down.

    python -m scripts.assets.low_rank_controls --data FILE [--model pocket]     pocket: 15 minutes on a core

On the pocket model and on SmolLM2-135M, the matrices of all linear layers are trained in full on real questions, at a
rate chosen on a validation split. Of the change ΔW = tuned - base, the parts of `controls.parts` are put back onto the
base for every rank r of RANKS, and the loss is measured on the test split: the first r terms of each matrix's SVD, all
others, and for the energy of either, ΔW scaled down and a random choice of its entries.

Beside them LoRA, trained at each of LORA_RANKS with alpha = 32 and its own best rate. Recovery is the fraction of full
fine-tuning's drop in test loss.

Intruder dimensions (Shuttleworth et al. 2024, arXiv 2410.21228): of the INTRUDERS first left singular vectors of a
tuned matrix, those whose cosine with every left singular vector of W0 stays below EPSILON. Counted for full
fine-tuning and for every LoRA.

"live" is one short run on the bundled sample, which a test repeats.

Runs are kept in build/grid and not repeated. A rate that is stored isn't searched again, and a LoRA run that is stored
isn't trained again; to begin anew, delete the result. Writes lorabook/assets/results/low_rank/controls.json.
"""

import json
import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from lorabook.lora import matched
from lorabook.merging import merge
from lorabook.models.load import load_model
from lorabook.training.evaluate import answer_loss
from lorabook.workbook.low_rank.controls import intruders, parts
from scripts.assets import grid, records
from scripts.assets.grid import Setting
from scripts.assets.pocket_runs import kept

RESULT = Path("lorabook/assets/results/low_rank/controls.json")
RANKS = (1, 4, 16, 64)
LORA_RANKS = {"pocket": (1, 4, 16, 64), "smollm2": (1, 4, 16)}  # on SmolLM2 a run takes 5 to 9 minutes
SEEDS = {"pocket": (0, 1, 2), "smollm2": (0,)}
QUESTIONS = 240
# Where the search for a rate begins, as powers of 2 of 1e-3: full fine-tuning, LoRA.
START = {"pocket": (0, 2), "smollm2": (-3, 1)}
INTRUDERS, EPSILON = 10, 0.5
LIVE = Setting("pocket", None)


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The matrices of the linear layers, as (d, k)."""
    return {name: model.get_submodule(name).get_parameter("weight") for name in matched(model, ("all-linear",))}


def count_intruders(base: dict[str, Tensor], tuned: dict[str, Tensor]) -> float:
    """Intruder dimensions a matrix, on average."""
    counts = [intruders(base[name], tuned[name], INTRUDERS, EPSILON) for name in base]
    return round(sum(counts) / len(counts), 3)


@torch.no_grad()
def put_back(model: nn.Module, base: dict[str, Tensor], test: list, ranks: tuple[int, ...] = RANKS) -> dict:
    """The test loss with each part of ΔW put back, and the first terms' fraction of its energy, by rank; and the
    intruders."""
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
    return {"losses": losses, "energy": energy, "intruders": count_intruders(base, tuned)}


@torch.no_grad()
def merged(model: nn.Module, base: dict[str, Tensor]) -> dict:
    merge(model, keep_copy=False)
    tuned = {name: model.get_submodule(name).base_layer.weight for name in base}  # pyright: ignore
    return {"intruders": count_intruders(base, tuned)}


def base_weights(model: str) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in weights(load_model(model, device="cpu").model).items()}


def live(ranks: tuple[int, ...] = (4,)) -> dict:
    """The same on the bundled sample, a run short enough for a test to repeat."""
    model, held = grid.live(LIVE)
    whole = round(answer_loss(model, held).loss, 4)
    return {"whole": whole} | put_back(model, base_weights("pocket"), held, ranks)


def experiment(model: str, data: str) -> dict:
    base = base_weights(model)
    stored = json.loads(RESULT.read_text())["models"].get(model, {}) if RESULT.exists() else {}
    return {
        "seeds": SEEDS[model],
        "base": grid.base_losses(model, data),
        "full": fully_tuned(model, data, base, stored.get("full")),
        "lora": {str(r): low_rank(model, r, data, base, stored.get("lora", {}).get(str(r))) for r in LORA_RANKS[model]},
    }


def at_best_rate(model: str, r: int | None, rates: dict[str, float]) -> Setting:
    best = float(min(rates, key=lambda rate: rates[rate]))
    return Setting(model, r, k=round(math.log2(best / 1e-3)), questions=QUESTIONS)


def chosen(model: str, r: int | None, start: int, data: str, stored: dict | None) -> tuple[Setting, dict[str, float]]:
    """A setting at its best rate, with the validation loss of every rate that was tried."""
    if stored:
        return at_best_rate(model, r, stored["rates"]), stored["rates"]
    return grid.tuned(Setting(model, r, questions=QUESTIONS), [start], data)


def fully_tuned(model: str, data: str, base: dict[str, Tensor], stored: dict | None) -> dict:
    _, _, test = grid.splits(model, data)
    full, rates = chosen(model, None, START[model][0], data, stored)
    runs = []
    for seed in SEEDS[model]:
        setting = replace(full, seed=seed)
        facts = grid.tested(setting, data)
        key = setting.key | {"ranks": RANKS, "test": grid.TEST, "controls": "scaled and random, of the same energy"}
        found = kept(setting.folder / "parts.json", key, lambda s=setting: put_back(grid.model_of(s), base, test))
        runs.append({"seed": seed} | facts | found)
    return {"rates": rates, "runs": runs}


def low_rank(model: str, r: int, data: str, base: dict[str, Tensor], stored: dict | None) -> dict:
    best, rates = chosen(model, r, START[model][1], data, stored)
    runs = {run["seed"]: run for run in (stored or {}).get("runs", [])}
    for seed in SEEDS[model]:
        if seed not in runs:
            setting = replace(best, seed=seed)
            facts = grid.tested(setting, data)
            more = kept(
                setting.folder / "intruders.json", setting.key, lambda s=setting: merged(grid.model_of(s), base)
            )
            runs[seed] = {"seed": seed} | facts | more
    return {"rates": rates, "runs": [runs[seed] for seed in SEEDS[model]]}


def main() -> None:
    found = grid.by_model(__doc__, RESULT, SEEDS, experiment)
    record = {
        "questions": QUESTIONS,
        "max_length": grid.MAX_LENGTH,
        "validation": grid.VALIDATION,
        "test": grid.TEST,
        "batch_tokens": grid.BATCH_TOKENS,
        "ranks": RANKS,
        "intruder_dimensions": {"first": INTRUDERS, "epsilon": EPSILON},
        "models": found,
        "live": live(),
    }
    print(f"{RESULT}: {records.write(RESULT, 'scripts/assets/low_rank_controls.py', record):,} bytes")


if __name__ == "__main__":
    main()
