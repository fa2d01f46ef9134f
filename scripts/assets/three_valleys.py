"""Held-out loss over the learning rate, for the three configurations that race in notebook 03.

    python -m scripts.assets.three_valleys        six minutes on two cores

The pocket model, the book's own questions and answers, and the steps of the notebook's `train`. Each configuration
starts from its rate in the race and goes down and up from there in factors of 2, as far as FACTORS says. Writes
lorabook/assets/results/rank_and_alpha/three_valleys.json.
"""

from pathlib import Path

from lorabook import LoRAConfig, apply_lora, data
from lorabook.data.examples import Example, encode_all
from lorabook.models.load import load_model
from lorabook.step.config import TrainConfig
from lorabook.training.loop import finetune
from scripts.assets import records

RESULT = Path("lorabook/assets/results/rank_and_alpha/three_valleys.json")
RACE = {"Large": (64, 128, 5e-5), "Medium": (16, 32, 1e-4), "Small": (1, 32, 4e-3)}  # r, alpha, learning rate
FACTORS = {"Large": range(-1, 8), "Medium": range(-1, 8), "Small": range(-5, 2)}  # powers of 2
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
    found = {}
    for name, (r, alpha, raced) in RACE.items():
        losses: dict[str, list[float]] = {}
        for k in FACTORS[name]:
            lr = raced * 2**k
            losses[f"{lr:g}"] = [round(final_loss(r, alpha, lr, seed), 4) for seed in SEEDS]
            print(name, f"{lr:g}", losses[f"{lr:g}"], flush=True)
        found[name] = {"r": r, "alpha": alpha, "raced": raced, "losses": losses}
    facts = {"steps": STEPS, "batch_tokens": BATCH_TOKENS, "seeds": SEEDS, "configurations": found}
    print(f"{RESULT}: {records.write(RESULT, 'scripts/assets/three_valleys.py', facts):,} bytes")


if __name__ == "__main__":
    main()
