"""Do updates that differ as matrices change the predictions alike? Cosines of both, on SmolLM2-135M.

    python -m scripts.assets.low_rank_effects --data FILE        half an hour on two cores

The runs are those of `low_rank_controls.py` and `rank_rules.py`: full fine-tuning of the linear layers' matrices on 240
real questions, and LoRA of rank R, each at its best learning rate. Of the updates that they add to the weights, pairs
are compared: of ΔW, the first R terms of every matrix and all others; LoRA's and ΔW; and a random one, of the size of
ΔW matrix by matrix, and ΔW. An update's effect is the change in the probability of every token of the
vocabulary at every answer token of the first QUESTIONS test questions. The cosine of two updates is that of all their
entries, and the cosine of two effects that of all these changes.

Runs are kept in build/grid and not repeated. Writes lorabook/assets/results/low_rank/effects.json.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from lorabook.data.examples import Example
from lorabook.lora import lora_layers
from lorabook.workbook.low_rank.controls import parts
from scripts.assets import grid, rank_rules, records
from scripts.assets.low_rank_controls import base_weights, exponent, weights
from scripts.assets.pocket_runs import kept

RESULT = Path("lorabook/assets/results/low_rank/effects.json")
MODEL, R, SEEDS, QUESTIONS = "smollm2", 4, (0, 1, 2), 40


def cosine(a: Tensor, b: Tensor) -> float:
    return (torch.vdot(a.flatten(), b.flatten()) / (a.norm() * b.norm())).item()


def joined(update: dict[str, Tensor]) -> Tensor:
    """All entries of an update, one after the other, in the order of the names."""
    return torch.cat([update[name].flatten() for name in sorted(update)])


@torch.no_grad()
def predictions(model: nn.Module, base: dict[str, Tensor], update: dict[str, Tensor], examples: list[Example]) -> Tensor:
    """The probabilities of the next token before every answer token, (answer tokens, vocabulary), with an update."""
    for name, weight in weights(model).items():
        weight.copy_(base[name] + update[name])
    rows = []
    for example in examples:
        logits = model(input_ids=torch.tensor([example.input_ids])).logits[0]
        rows.append(logits[example.answer_start - 1 : -1].softmax(-1))
    return torch.cat(rows)


def compared(seed: int, data: str) -> dict:
    """The two cosines, of updates and of effects, for every pair of one seed."""
    rules = json.loads(rank_rules.RESULT.read_text())["models"][MODEL]["ranks"]
    full = replace(rank_rules.setting(MODEL, None, k=exponent(rules["full"]["lr"])), seed=seed)
    examples = grid.splits(MODEL, data)[2][:QUESTIONS]
    grid.run(full, data)
    model, base = grid.model_of(full), base_weights(MODEL)
    change = {name: (weight - base[name]).detach() for name, weight in weights(model).items()}
    nothing = {name: torch.zeros_like(delta) for name, delta in change.items()}
    before = predictions(model, base, nothing, examples)

    def effect(update: dict[str, Tensor]) -> Tensor:
        return predictions(model, base, update, examples) - before

    def pair(name: str, first: dict[str, Tensor], second: dict[str, Tensor], of_second: Tensor) -> list[float]:
        both = cosine(joined(first), joined(second)), cosine(effect(first), of_second)
        print(f"  seed {seed}, {name}: updates {both[0]:.4f}, effects {both[1]:.4f}", flush=True)
        return [round(each, 4) for each in both]

    _, split = parts(change, R)
    lora = rank_rules.setting(MODEL, R, alpha=rank_rules.ALPHA, k=exponent(rules["alpha / r"][str(R)]["lr"]))
    grid.run(replace(lora, seed=seed), data)
    trained = {name: layer.delta().detach() for name, layer in lora_layers(grid.model_of(replace(lora, seed=seed)))}
    generator = torch.Generator().manual_seed(seed)
    noise = {name: torch.randn(delta.shape, generator=generator) for name, delta in change.items()}
    noise = {name: each * change[name].norm() / each.norm() for name, each in noise.items()}
    whole = effect(change)
    return {
        "seed": seed,
        "first and rest": pair("first and rest", split["truncated"], split["rest"], effect(split["rest"])),
        "LoRA and whole": pair("LoRA and whole", trained, change, whole),
        "random and whole": pair("random and whole", noise, change, whole),
    }


def main(data: str) -> None:
    key = {"rank": R, "questions": QUESTIONS, "model": MODEL}
    runs = [kept(grid.RUNS / f"effects-{seed}.json", key, lambda s=seed: compared(s, data)) for seed in SEEDS]
    print(f"{RESULT}: {records.write(RESULT, 'scripts/assets/low_rank_effects.py', key | {'runs': runs}):,} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="real rows, as lorabook.data.stackoverflow.load reads them")
    main(parser.parse_args().data)
