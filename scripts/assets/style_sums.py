"""Sums of style adapters on the pocket model: which habits survive, and what a plain adapter has to do with it.

    python -m scripts.assets.style_sums     a quarter of an hour on a core

Adapters for camelCase and for docstrings, and a plain one, are trained as in `style_adapters.py`, at the rate found
there. The plain one sees the same source, rewritten for no habit. For every one of SUMS, the weighted updates are added
to the weights, and the habits in 44 completions are counted. All of it with each of the seeds.

Runs are kept in build/styles and not repeated. Writes lorabook/assets/results/many_tasks/style_sums.json.
"""

from pathlib import Path

import torch

from lorabook import lora_layers
from lorabook.models.load import load_model
from lorabook.workbook.kit.stored import stored
from lorabook.workbook.kit.styles import CAMEL_CASE, DOCSTRINGS, PLAIN, Style, completions, rates
from scripts.assets import records
from scripts.assets.pocket_runs import kept
from scripts.assets.style_adapters import EACH, RUNS, SEEDS, STEPS, trained

RESULT = Path("lorabook/assets/results/many_tasks/style_sums.json")
STYLES = (CAMEL_CASE, DOCSTRINGS, PLAIN)
SUMS: tuple[dict[str, float], ...] = (
    {},
    {"camelCase": 1},
    {"docstrings": 1},
    {"plain": 1},
    {"plain": -1},
    {"camelCase": 1, "docstrings": 1},
    {"camelCase": 1, "docstrings": 1, "plain": -1},
    {"camelCase": 1, "plain": -1},
    {"docstrings": 1, "plain": 1},
)


def named(weights: dict[str, float]) -> str:
    return " ".join(f"{w:+g} {name}" for name, w in weights.items()) or "base"


def update(style: Style, lr: float, seed: int) -> dict[str, torch.Tensor]:
    """ΔW of an adapter for this style, by module."""
    loaded, _, _ = trained("pocket", style, lr, seed)
    return {name: layer.delta().detach() for name, layer in lora_layers(loaded.model)}


def one(lr: float, seed: int) -> dict[str, dict[str, tuple[int, int]]]:
    """By sum, the counts of all habits."""

    def make() -> dict:
        updates, found = {style.name: update(style, lr, seed) for style in STYLES}, {}
        for weights in SUMS:
            loaded = load_model("pocket", device="cpu")
            with torch.no_grad():
                for name, weight in weights.items():
                    for place, delta in updates[name].items():
                        loaded.model.get_submodule(place).weight += weight * delta
            found[named(weights)] = rates(completions(loaded.model, loaded.tokenizer, EACH["pocket"], seed=seed))
            print(seed, named(weights), found[named(weights)], flush=True)
        return found

    key = {"sums": [named(weights) for weights in SUMS], "lr": lr, "seed": seed, "steps": STEPS["pocket"]}
    return kept(RUNS / f"sums-{seed}.json", key, make)


def main() -> None:
    lr = stored("many_tasks", "style_adapters")["models"]["pocket"]["lr"]
    record = {"lr": lr, "steps": STEPS["pocket"], "seeds": SEEDS["pocket"]}
    record["runs"] = [one(lr, seed) for seed in SEEDS["pocket"]]
    print(f"{RESULT}: {records.write(RESULT, 'scripts/assets/style_sums.py', record):,} bytes")


if __name__ == "__main__":
    main()
