"""What fine-tuning gains and what it makes a model forget, full fine-tuning and LoRA, over the learning rate.

    python -m scripts.assets.forgetting --data FILE [--model pocket]

Full fine-tuning of the linear layers' matrices and LoRA of each of RANKS on the same matrices (alpha = 32), one pass
over QUESTIONS real questions (`grid.py`). Each is run at its best rate on the validation split and at AROUND times
that. "gain" is the drop in loss on the test split; "source" and "text" are what was added to the loss on Python source
and on English prose that the pocket model never saw (`assets/heldout_source.txt`, `assets/heldout_text.txt`).

Runs are kept in build/grid and not repeated. Writes lorabook/assets/results/rank_and_alpha/forgetting.json.
"""

from dataclasses import replace
from pathlib import Path

from torch import nn

from lorabook.models.load import load_model
from lorabook.training.evaluate import answer_loss
from lorabook.workbook.rank_and_alpha.forgetting import SOURCE, TEXT, source_rows
from scripts.assets import grid, records
from scripts.assets.grid import Setting
from scripts.assets.pocket_runs import kept

RESULT = Path("lorabook/assets/results/rank_and_alpha/forgetting.json")
QUESTIONS, RANKS = 240, (1, 16, 64)
SEEDS = {"pocket": (0, 1, 2), "smollm2": (0,)}
LIVE = Setting("pocket", 16, k=2)
AROUND = (-2, -1, 0, 1)  # powers of 2 of the best rate
FULL, LORA = {"pocket": 0, "smollm2": -3}, {"pocket": 2, "smollm2": 1}  # where the search for a rate begins


def elsewhere(model: nn.Module, name: str) -> dict[str, float]:
    """The losses on Python source and on prose."""
    tokenizer = load_model(name, device="cpu").tokenizer
    texts = {"source": SOURCE, "text": TEXT}
    return {key: round(answer_loss(model, source_rows(tokenizer, 256, file)).loss, 4) for key, file in texts.items()}


def one(s: Setting, base: dict[str, float], data: str) -> dict:
    facts = grid.tested(s, data)
    after = kept(s.folder / "elsewhere.json", s.key, lambda: elsewhere(grid.model_of(s), s.model))
    found = {"lr": s.lr, "seed": s.seed, "gain": round(base["test"] - facts["test"], 4)}
    found |= {key: round(after[key] - base[key], 4) for key in ("source", "text")}
    print(s.folder.name, found, flush=True)
    return found


def experiment(model: str, data: str) -> dict:
    def measure_base() -> dict[str, float]:
        return elsewhere(load_model(model, device="cpu").model, model)

    base = grid.base_losses(model, data) | kept(grid.RUNS / f"{model}-elsewhere.json", {"model": model}, measure_base)
    found: dict = {"base": base, "seeds": SEEDS[model], "methods": {}}
    methods = {"full": (Setting(model, None, questions=QUESTIONS), FULL[model])}
    methods |= {f"r = {r}": (Setting(model, r, questions=QUESTIONS), LORA[model]) for r in RANKS}
    for name, (setting, start) in methods.items():
        best, rates = grid.tuned(setting, [start], data)
        runs = [one(replace(best, k=best.k + k, seed=seed), base, data) for k in AROUND for seed in SEEDS[model]]
        found["methods"][name] = {"best": best.lr, "rates": rates, "runs": runs}
    return found


def live() -> dict[str, float]:
    """The losses elsewhere after a short run on the bundled sample, which a test repeats."""
    model, _ = grid.live(LIVE)
    return elsewhere(model, "pocket")


def main() -> None:
    found = grid.by_model(__doc__, RESULT, SEEDS, experiment)
    record = {"questions": QUESTIONS, "test": grid.TEST, "validation": grid.VALIDATION, "models": found, "live": live()}
    print(f"{RESULT}: {records.write(RESULT, 'scripts/assets/forgetting.py', record):,} bytes")


if __name__ == "__main__":
    main()
