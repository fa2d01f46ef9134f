"""What SmolLM2-135M answers with ΔW truncated to rank r, beside LoRA trained at rank r.

    python -m scripts.assets.rank_answers --data FILE       about half an hour on a core

A run is that of `rank_rules.py` with seed 0 at the best rate stored there, but in float32; runs are kept in build/grid
and not repeated. SHOWN questions of the test split, drawn by a seed, are answered greedily, at most NEW_TOKENS tokens,
by the base, by full fine-tuning, by ΔW cut to each of RANKS and by LoRA of LORA_RANKS. Of the posts, titles and
question ids are stored, nothing else. Beside them is notebook 04's picture at these ranks, as the Rank explorer shows
it. Writes lorabook/assets/results/low_rank/answers.json.
"""

import argparse
import json
import random
from pathlib import Path

import torch
from torch import nn

from lorabook.data.examples import Pair
from lorabook.data.split import split
from lorabook.data.stackoverflow import load
from lorabook.models.load import load_model
from lorabook.training.answers import answers
from lorabook.workbook.low_rank import controls
from lorabook.workbook.low_rank.explorer import RANKS, levels
from scripts.assets import grid, low_rank_controls, rank_rules, records
from scripts.assets.grid import Setting

RESULT = Path("lorabook/assets/results/low_rank/answers.json")
MODEL = "smollm2"
SHOWN, NEW_TOKENS, LORA_RANKS = 3, 90, (1, 4, 16)


def shown(data: str) -> list[Pair]:
    """Of the test split of `grid.splits`."""
    _, test = split(load(data, rows=grid.ROWS).pairs, grid.TEST, grid.SPLIT_SEED)
    return random.Random(0).sample(sorted(test, key=lambda pair: pair.question_id), SHOWN)


@torch.no_grad()
def cut(model: nn.Module, say) -> dict[str, list[str]]:
    """The answers with ΔW cut to each rank, by rank."""
    base, ours = low_rank_controls.base_weights(MODEL), low_rank_controls.weights(model)
    delta = {name: weight - base[name] for name, weight in ours.items()}
    found = {}
    for r in RANKS:
        _, made = controls.parts(delta, r)
        for name, weight in ours.items():
            weight.copy_(base[name] + made["truncated"][name])
        found[str(r)] = say(model)
        print(f"rank {r}: {found[str(r)][0]!r}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="real rows, as lorabook.data.stackoverflow.load reads them")
    data = parser.parse_args().data
    questions, loaded = shown(data), load_model(MODEL, device="cpu")

    def say(model: nn.Module) -> list[str]:
        return [each.text for each in answers(model, loaded.tokenizer, questions, NEW_TOKENS)]

    def trained(setting: Setting) -> nn.Module:
        grid.run(setting, data)
        return grid.model_of(setting)

    def best(r: int | None, rate: float) -> Setting:
        return Setting(MODEL, r, k=low_rank_controls.exponent(rate), questions=rank_rules.QUESTIONS)

    rules = json.loads(rank_rules.RESULT.read_text())["models"][MODEL]["ranks"]
    full = trained(best(None, rules["full"]["lr"]))
    said = {"base": say(loaded.model), "full": say(full), "truncated": cut(full, say)}
    said["LoRA"] = {str(r): say(trained(best(r, rules["alpha / r"][str(r)]["lr"]))) for r in LORA_RANKS}
    record = {
        "model": loaded.name,
        "ranks": RANKS,
        "new_tokens": NEW_TOKENS,
        "questions": [{"question_id": pair.question_id, "title": pair.title} for pair in questions],
        "answers": said,
        "pictures": {str(r): levels(r) for r in RANKS},
    }
    print(f"{RESULT}: {records.write(RESULT, 'scripts/assets/rank_answers.py', record):,} bytes")


if __name__ == "__main__":
    main()
