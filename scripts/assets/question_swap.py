"""How much of a fine-tune's improvement needs the right question: SmolLM2-135M, on 50, 240 and 1,500 questions.

    python -m scripts.assets.question_swap --data FILE        about 10 minutes on two cores, after `rank_rules.py`

Every answer of the test split gets the question of the example before it. What a model still gains there, it cannot
have read in the right question. The models are those of `rank_rules.py`: LoRA of rank R on all linear layers at its
best learning rate, three seeds, kept in build/grid. Pairs too long for `grid.MAX_LENGTH` tokens are left out of both.

Writes lorabook/assets/results/final_run/question_swap.json.
"""

import argparse
import json
import math
from pathlib import Path

from lorabook.data.examples import Example, swapped_questions
from lorabook.models.load import load_model
from lorabook.training.evaluate import answer_loss
from scripts.assets import grid, records
from scripts.assets.grid import Setting
from scripts.assets.pocket_runs import kept
from scripts.assets.rank_rules import ALPHA, FEW_QUESTIONS, MANY_QUESTIONS, QUESTIONS, RESULT, SEEDS

SWAPPED = Path("lorabook/assets/results/final_run/question_swap.json")
MODEL, R = "smollm2", 16
PARTS = {FEW_QUESTIONS: ("few", "lora"), QUESTIONS: ("ranks", "alpha / r"), MANY_QUESTIONS: ("capacity", "lora")}


def losses(model, pairs: tuple[list[Example], list[Example]]) -> dict[str, float]:
    """In bfloat16, as the models were trained."""
    with grid.arithmetic(half=True):
        return {which: round(answer_loss(model, each).loss, 4) for which, each in zip(("own", "other"), pairs)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the rows that rank_rules.py was given")
    asked = parser.parse_args()
    _, _, test = grid.splits(MODEL, asked.data)
    pairs = swapped_questions(test, grid.MAX_LENGTH)
    rules = json.loads(RESULT.read_text())["models"][MODEL]
    key = {"model": MODEL, "r": R, "length": grid.MAX_LENGTH, "pairs": len(pairs[0])}

    def of(setting: Setting) -> dict[str, float]:
        folder = setting.folder
        return kept(folder / "swap.json", key | {"run": folder.name}, lambda: losses(grid.model_of(setting), pairs))

    base = kept(
        grid.RUNS / f"{MODEL}-base-swap.json", key, lambda: losses(load_model(MODEL, device="cpu").model, pairs)
    )
    found = {}
    for questions, (part, method) in PARTS.items():
        lr = rules[part][method][str(R)]["lr"]
        k = round(math.log2(lr / Setting(MODEL, R).lr))
        settings = [Setting(MODEL, R, k, seed, ALPHA, questions=questions, half=True) for seed in SEEDS]
        found[str(questions)] = [{"seed": s.seed, "lr": lr} | of(s) for s in settings]
        print(questions, found[str(questions)], flush=True)
    record = {"model": MODEL, "r": R, "pairs": len(pairs[0]), "base": base, "lora": found}
    print(f"{SWAPPED}: {records.write(SWAPPED, 'scripts/assets/question_swap.py', record):,} bytes")


if __name__ == "__main__":
    main()
