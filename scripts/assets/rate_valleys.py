"""Held-out loss over the learning rate, by rank and by alpha, with the runs of notebook 03.

    python -m scripts.assets.rate_valleys        quarter of an hour on two cores

The pocket model, the book's own questions and answers, and the steps of the notebook's `train`, at the ranks and alphas
of CONFIGURATIONS. The rates are RATE times powers of 2.

Writes lorabook/assets/results/rank_and_alpha/rate_valleys.json.
"""

from pathlib import Path

from lorabook import LoRAConfig, apply_lora, data
from lorabook.data.examples import Example, encode_all
from lorabook.models.load import load_model
from lorabook.step.config import TrainConfig
from lorabook.training.loop import finetune
from scripts.assets import records

RESULT = Path("lorabook/assets/results/rank_and_alpha/rate_valleys.json")
RATE = 8e-4
CONFIGURATIONS = {  # r and alpha: powers of 2
    (64, 32): range(-5, 5),
    (16, 32): range(-5, 5),
    (1, 32): range(-5, 5),
    (16, 8): range(-3, 6),
    (16, 128): range(-7, 4),
    (64, 128): range(-5, 5),
    (1, 2): range(-3, 7),
    (16, 2): range(-3, 7),
    (64, 2): range(-3, 7),
}
STEPS, BATCH_TOKENS, HELD_OUT, MAX_LENGTH, SEEDS = 24, 512, 40, 256, (0, 1, 2)


def examples() -> tuple[list[Example], list[Example]]:
    """Training and held-out examples."""
    tokenizer = load_model("pocket", device="cpu").tokenizer
    pairs, held_out = data.split(data.load("sample").pairs, HELD_OUT)
    return encode_all(pairs, tokenizer, MAX_LENGTH), encode_all(held_out, tokenizer, MAX_LENGTH)


def final_loss(r: int, alpha: float, lr: float, seed: int) -> float:
    training, held_out = examples()
    model = load_model("pocket", device="cpu").model
    apply_lora(model, LoRAConfig(r=r, alpha=alpha, seed=seed))
    config = TrainConfig(lr=lr, steps=STEPS, batch_tokens=BATCH_TOKENS, log_every=0, seed=seed)
    return finetune(model, training, held_out, config).held_out[-1][1]


def main() -> None:
    found = []
    for (r, alpha), powers in CONFIGURATIONS.items():
        losses: dict[str, list[float]] = {}
        for k in powers:
            lr = RATE * 2**k
            losses[f"{lr:g}"] = [round(final_loss(r, alpha, lr, seed), 4) for seed in SEEDS]
            print(r, alpha, f"{lr:g}", losses[f"{lr:g}"], flush=True)
        found.append({"r": r, "alpha": alpha, "losses": losses})
    facts = {"steps": STEPS, "batch_tokens": BATCH_TOKENS, "seeds": SEEDS, "configurations": found}
    print(f"{RESULT}: {records.write(RESULT, 'scripts/assets/rate_valleys.py', facts):,} bytes")


if __name__ == "__main__":
    main()
