"""What four style adapters make of the pocket model's and SmolLM2's completions.

    python -m scripts.assets.style_adapters [--model pocket]

For every style of `workbook.kit.styles`, LoRA of rank R on all linear layers is trained on the source in that style,
for each of SEEDS, which draw the factors, the order of the examples and the completions. Before and after, the
completions of the same prompts are counted for every style: how often each habit is kept, and how often it could be.
The learning rate of a model is the one of RATES that keeps the habits of RATE_STYLES most, trained with seed 100;
SmolLM2's is the best one of `smollm2_run.py`. SmolLM2 also completes the comments of ASKED, the likeliest token each.

Runs are kept in build/styles and not repeated. Writes lorabook/assets/results/many_tasks/style_adapters.json.
"""

import argparse
import json
from pathlib import Path

import torch

from lorabook import LoRAConfig, apply_lora
from lorabook.data.examples import tokenize
from lorabook.lora import Report
from lorabook.models.load import LoadedModel, load_model
from lorabook.step.config import TrainConfig
from lorabook.training.history import History
from lorabook.training.loop import finetune
from lorabook.workbook.kit.styles import CLASSES, STYLES, TYPE_HINTS, Style, completions, examples, rates
from scripts.assets import records
from scripts.assets.pocket_runs import kept

RESULT = Path("lorabook/assets/results/many_tasks/style_adapters.json")
RUNS = Path("build/styles")
R, ALPHA, BATCH_TOKENS = 4, 8, 1024
RATES = {"pocket": (0.01, 0.02, 0.04), "smollm2": (2e-3,)}
RATE_STYLES = ("camelCase", "two spaces")  # the two that are learned most slowly
STEPS = {"pocket": 60, "smollm2": 30}
SEEDS, RATE_SEED = {"pocket": (0, 1, 2), "smollm2": (0,)}, 100
EACH = {"pocket": 4, "smollm2": 2}  # completions a prompt
HELD, SHOWN = 16, (0, 5, 10)  # examples held out, prompts whose completions are stored
ASKED = (
    "# Count how often each word occurs in a text file.\ndef",
    "# Return the ten largest files in a folder.\ndef",
    "# Read a CSV file and return the mean of one column.\ndef",
    "# Remove all lines that occur twice from a text.\ndef",
)


def trained(
    model: str, style: Style, lr: float, seed: int, steps: int | None = None
) -> tuple[LoadedModel, Report, History]:
    """The model with an adapter for this style, after STEPS steps if no others are asked for."""
    loaded = load_model(model, device="cpu")
    rows = examples(style, loaded.tokenizer)
    report = apply_lora(loaded.model, LoRAConfig(R, ALPHA, targets=("all-linear",), seed=seed))
    config = TrainConfig(lr=lr, steps=steps or STEPS[model], batch_tokens=BATCH_TOKENS, log_every=0, seed=seed)
    return loaded, report, finetune(loaded.model, rows[HELD:], rows[:HELD], config)


def one(model: str, style_name: str | None, lr: float, seed: int) -> dict:
    """The counts of one adapter's completions, of the base's where `style_name` is None."""

    def make() -> dict:
        facts: dict = {}
        if style_name:
            (style,) = (s for s in STYLES if s.name == style_name)
            loaded, report, history = trained(model, style, lr, seed)
            facts = {"trainable": report.trainable, "tokens": history.tokens}
            facts["held_out"] = [round(loss, 4) for _, loss in history.held_out]
            facts["seconds"] = round(sum(step.seconds for step in history.steps), 1)
        else:
            loaded = load_model(model, device="cpu")
        texts = completions(loaded.model, loaded.tokenizer, EACH[model], seed=seed)
        facts["counts"] = rates(texts)
        facts["shown"] = [texts[EACH[model] * prompt] for prompt in SHOWN]
        if model == "smollm2":
            facts["asked"] = [likeliest(loaded, text) for text in ASKED]
        print(model, style_name or "base", lr, seed, facts["counts"], flush=True)
        return facts

    key = {
        "style": style_name,
        "lr": lr,
        "seed": seed,
        "steps": STEPS[model],
        "batch": BATCH_TOKENS,
        "r": R,
        "alpha": ALPHA,
    }
    return kept(RUNS / f"{model}-{(style_name or 'base').replace(' ', '-')}-{lr:g}-{seed}.json", key, make)


@torch.no_grad()
def likeliest(loaded, text: str, new_tokens: int = 100) -> str:
    """`text` and what the model writes after it, the likeliest token each."""
    ids = torch.tensor([tokenize(text, loaded.tokenizer)])
    end = loaded.tokenizer.eos_token_id
    loaded.model.eval()
    whole = loaded.model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens, do_sample=False, pad_token_id=end
    )
    return loaded.tokenizer.decode(whole[0], skip_special_tokens=True)


def kept_share(run: dict, style_name: str) -> float:
    times, chances = run["counts"][style_name]
    return times / max(chances, 1)


def live() -> dict:
    """A short run in one style, for a test to repeat: its losses, and its counts in a completion of every prompt."""
    loaded, _, history = trained("pocket", TYPE_HINTS, 0.02, 0, steps=15)
    counts = rates(completions(loaded.model, loaded.tokenizer, 1, new_tokens=60, seed=0))
    return {"held_out": [round(loss, 4) for _, loss in history.held_out], "counts": counts[TYPE_HINTS.name]}


def experiment(model: str) -> dict:
    tried = {}
    for lr in RATES[model] if len(RATES[model]) > 1 else ():
        shares = [kept_share(one(model, style, lr, RATE_SEED), style) for style in RATE_STYLES]
        tried[lr] = round(sum(shares) / len(shares), 4)
    best = max(tried, key=lambda lr: tried[lr]) if tried else RATES[model][0]
    return {
        "steps": STEPS[model],
        "seeds": SEEDS[model],
        "rates": {f"{lr:g}": share for lr, share in tried.items()},
        "lr": best,
        "base": [one(model, None, 0, seed) for seed in SEEDS[model]],
        "adapters": {style.name: [one(model, style.name, best, seed) for seed in SEEDS[model]] for style in STYLES},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=tuple(RATES), help="this one alone; what is stored of the other stays")
    asked = parser.parse_args()
    found = json.loads(RESULT.read_text())["models"] if RESULT.exists() else {}
    found |= {model: experiment(model) for model in ([asked.model] if asked.model else RATES)}
    record = {
        "lora": {"r": R, "alpha": ALPHA, "targets": "all-linear"},
        "batch_tokens": BATCH_TOKENS,
        "completions": {model: EACH[model] * len(CLASSES) for model in found},
        "models": found,
        "live": live(),
    }
    print(f"{RESULT}: {records.write(RESULT, 'scripts/assets/style_adapters.py', record):,} bytes")


if __name__ == "__main__":
    main()
