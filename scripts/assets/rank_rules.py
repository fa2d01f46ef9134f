"""Rank, scaling, learning rate, targets, capacity: what to choose, on the pocket model and on SmolLM2-135M.

    python -m scripts.assets.rank_rules --data FILE [--model pocket] [--only ranks alpha targets ...]

Every run is one pass over real questions (`grid.py`), its learning rate chosen on a validation split (1e-3 * 2^k; the
search goes on until the best rate has a worse one on either side) and repeated with other seeds; the loss on the test
split is reported.

- "ranks": full fine-tuning of the linear layers' matrices; LoRA of rank 1 to 64 on the same matrices, scaled by
  alpha / r with alpha = 32, and by alpha / sqrt(r) with alpha = 8. At r = 16 both scale by 2.
- "alpha": rank 16 on the linear layers with each of ALPHAS, scaled by alpha / r.
- "targets": a budget of trainable parameters, that of rank 4 on all linear layers, spent on fewer matrices, with the
  same scaling 2. "all linear + embeddings" adds the token embedding at rank 4; EMBEDDING_RATES multiplies its scaling,
  which under Adam is what multiplying its learning rate does.
- "article": r = 16, alpha = 8, the embeddings among the targets, beside r = 16, alpha = 32 on all linear layers.
- "capacity": more questions, MANY_QUESTIONS of them; full fine-tuning, and LoRA of CAPACITY_RANKS.
- "few": the same on FEW_QUESTIONS, with FEW_RANKS.
- "methods": pocket alone, other ways to train few parameters, WIDTHS of bottleneck adapters and DIMENSIONS of random
  subspaces; the embeddings alone; and every parameter.
- "most": SmolLM2 alone, full fine-tuning and LoRA of MOST_RANK on MOST_QUESTIONS; one seed, at the learning rates that
  MANY_QUESTIONS chose, since a run takes more than an hour on two cores.

SmolLM2 computes in bfloat16 (`Setting.half`), and has fewer points: see the tables below.

Runs are kept in build/grid and not repeated. Writes lorabook/assets/results/rank_and_alpha/rules.json.
"""

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

from lorabook.lora import count_parameters
from lorabook.training.evaluate import answer_loss
from scripts.assets import grid, records
from scripts.assets.grid import Setting

RESULT = Path("lorabook/assets/results/rank_and_alpha/rules.json")
FEW_QUESTIONS, QUESTIONS, MANY_QUESTIONS, MOST_QUESTIONS = 50, 240, 1500, 5000
RANKS, ALPHA, ALPHA_ROOT = (1, 4, 16, 64), 32, 8
CAPACITY_RANKS = {"pocket": RANKS, "smollm2": (1, 16)}
FEW_RANKS = {"pocket": (16,), "smollm2": (16,)}
MOST_RANK = 16
ROOT_RANKS = {"pocket": RANKS, "smollm2": (1, 64)}
ALPHAS = {8: 3, 32: 2, 128: 1}  # and where the search for its rate begins
BUDGET_RANK, SCALING = 4, 2
SEEDS = (0, 1, 2)
FULL = {"pocket": 0, "smollm2": -3}  # where the search for a rate begins, as powers of 2 of 1e-3
LORA = {"pocket": 2, "smollm2": 1}
BFLOAT16 = ("smollm2",)  # the models that compute in it
EMBEDDING_RATES = {"pocket": (1 / 64, 1 / 16, 1 / 4, 1, 4), "smollm2": (1 / 16, 1 / 4, 1)}
TARGETS = {
    "pocket": {
        "attention": ("attn.c_attn", "attn.c_proj"),
        "MLP": ("mlp.c_fc", "mlp.c_proj"),
        "all linear": ("all-linear",),
    },
    "smollm2": {
        "all linear": ("all-linear",),
        "W_q and W_v": ("q_proj", "v_proj"),
        "MLP": ("gate_proj", "up_proj", "down_proj"),
        "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    },
}
EMBEDDINGS = {"pocket": "wte", "smollm2": "embed_tokens"}
WIDTHS = {1: 3, 4: 3, 16: 3, 64: 2}  # and where the searches for their rates begin
DIMENSIONS = {1_000: 7, 10_000: 5, 100_000: 3, 1_000_000: 0}
LIVE = Setting("pocket", 16, k=2)
# "c_attn, c_proj, c_fc, wte, wpe", and what corresponds to them in a Llama.
ARTICLE = {
    "pocket": ("c_attn", "c_proj", "c_fc", "wte", "wpe"),
    "smollm2": ("all-linear", "embed_tokens"),
}


def setting(model: str, r: int | None, **others) -> Setting:
    """A setting on QUESTIONS questions, in the arithmetic of its model."""
    return Setting(model, r, half=model in BFLOAT16, **{"questions": QUESTIONS} | others)


def chosen(s: Setting, start: int, data: str) -> dict:
    """A setting at its best rate: every rate's validation loss, and the runs of all seeds."""
    best, rates = grid.tuned(s, [start], data)
    runs = [{"seed": seed} | grid.tested(replace(best, seed=seed), data) for seed in SEEDS]
    mean = sum(run["test"] for run in runs) / len(runs)
    print(f"== {best.folder.name}: lr {best.lr:g}, test {mean:.4f}", flush=True)
    return {"r": s.r, "alpha": s.alpha, "lr": best.lr, "rates": rates, "runs": runs}


def ranks(model: str, data: str) -> dict:
    lora = {str(r): setting(model, r, alpha=ALPHA) for r in RANKS}
    root = {str(r): setting(model, r, alpha=ALPHA_ROOT, rslora=True) for r in ROOT_RANKS[model]}
    return {
        "full": chosen(setting(model, None), FULL[model], data),
        "alpha / r": {r: chosen(s, LORA[model], data) for r, s in lora.items()},
        "alpha / sqrt(r)": {r: chosen(s, LORA[model], data) for r, s in root.items()},
    }


def alphas(model: str, data: str) -> dict:
    return {str(alpha): chosen(setting(model, 16, alpha=alpha), k, data) for alpha, k in ALPHAS.items()}


def rank_of(model: str, targets: tuple[str, ...]) -> int:
    """The rank at which `targets` come nearest to the budget."""

    def trainable(targets: tuple[str, ...], r: int) -> int:
        return count_parameters(grid.prepared(Setting(model, r, targets=targets)))[0]

    return max(1, round(BUDGET_RANK * trainable(("all-linear",), BUDGET_RANK) / trainable(targets, BUDGET_RANK)))


def targets(model: str, data: str) -> dict:
    found = {}
    for name, matched in TARGETS[model].items():
        r = rank_of(model, matched)
        found[name] = chosen(setting(model, r, alpha=SCALING * r, targets=matched), LORA[model], data)
    r = BUDGET_RANK
    both = setting(model, r, alpha=SCALING * r, targets=("all-linear", EMBEDDINGS[model]))
    best, _ = grid.tuned(replace(both, targets=("all-linear",)), [LORA[model]], data)
    found["all linear + embeddings"] = {
        f"{times:g}": [
            {"seed": s} | grid.tested(replace(both, k=best.k, embedding_rate=times, seed=s), data) for s in SEEDS
        ]
        for times in EMBEDDING_RATES[model]
    }
    return found


def article(model: str, data: str) -> dict:
    settings = {
        "article": setting(model, 16, alpha=8, targets=ARTICLE[model]),
        "recommended": setting(model, 16, alpha=32),
    }
    return {name: chosen(s, LORA[model], data) for name, s in settings.items()}


def on(questions: int, ranks: dict, model: str, data: str) -> dict:
    """Full fine-tuning, and LoRA of the model's ranks, on so many questions."""
    full = chosen(setting(model, None, questions=questions), FULL[model], data)
    lora = {r: setting(model, r, alpha=ALPHA, questions=questions) for r in ranks[model]}
    return {
        "questions": questions,
        "full": full,
        "lora": {str(r): chosen(s, LORA[model], data) for r, s in lora.items()},
    }


def methods(model: str, data: str) -> dict:
    if model != "pocket":
        return {}
    full = setting(model, None)
    return {
        "bottleneck adapters": {str(m): chosen(replace(full, width=m), k, data) for m, k in WIDTHS.items()},
        "random subspace": {str(d): chosen(replace(full, d=d), k, data) for d, k in DIMENSIONS.items()},
        "embeddings alone": chosen(replace(full, targets=("wte", "wpe")), 0, data),
        "every parameter": chosen(replace(full, targets=()), -1, data),
    }


def most(model: str, data: str) -> dict:
    """One run each on MOST_QUESTIONS, at the rates that MANY_QUESTIONS chose: those at which their searches begin."""
    if model != "smollm2":
        return {}

    def once(r: int | None, k: int) -> dict:
        s = setting(model, r, alpha=ALPHA, questions=MOST_QUESTIONS, k=k)
        return {"r": r, "alpha": s.alpha, "lr": s.lr, "rates": {}, "runs": [{"seed": s.seed} | grid.tested(s, data)]}

    return {
        "questions": MOST_QUESTIONS,
        "full": once(None, FULL[model]),
        "lora": {str(MOST_RANK): once(MOST_RANK, LORA[model])},
    }


def live() -> float:
    """The loss after a short run on the bundled sample, which a test repeats."""
    model, held = grid.live(LIVE)
    return round(answer_loss(model, held).loss, 4)


PARTS = {
    "ranks": ranks,
    "alpha": alphas,
    "targets": targets,
    "article": article,
    "capacity": partial(on, MANY_QUESTIONS, CAPACITY_RANKS),
    "few": partial(on, FEW_QUESTIONS, FEW_RANKS),
    "methods": methods,
    "most": most,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="real rows, as lorabook.data.stackoverflow.load reads them")
    parser.add_argument("--model", choices=tuple(TARGETS), help="this one alone; what is stored of the other stays")
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), default=tuple(PARTS), help="these parts alone")
    asked = parser.parse_args()
    found = json.loads(RESULT.read_text())["models"] if RESULT.exists() else {}
    for model in [asked.model] if asked.model else TARGETS:
        found.setdefault(model, {})["base"] = grid.base_losses(model, asked.data, half=model in BFLOAT16)
        for part in asked.only:
            found[model][part] = PARTS[part](model, asked.data)
    record = {"questions": QUESTIONS, "max_length": grid.MAX_LENGTH, "validation": grid.VALIDATION, "test": grid.TEST}
    record |= {"batch_tokens": grid.BATCH_TOKENS, "seeds": SEEDS, "bfloat16": BFLOAT16, "models": found, "live": live()}
    print(f"{RESULT}: {records.write(RESULT, 'scripts/assets/rank_rules.py', record):,} bytes")


if __name__ == "__main__":
    main()
