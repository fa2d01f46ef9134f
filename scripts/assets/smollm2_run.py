"""What LoRA on real StackOverflow answers makes of SmolLM2-135M-Instruct, on a CPU.

    python -m scripts.assets.smollm2_run --data FILE        a few hours on two cores; run it again to go on after a stop

FILE holds rows in StackOverflow's schema (`lorabook.data.sources.COLUMNS`), at least 2,000. Of its first ROWS rows,
TEST questions are the test split, VALIDATION others the validation split, and TRAIN of the rest the training split, all
drawn by a seed. LoRA of rank R with alpha = ALPHA on all linear layers, sequences of at most MAX_LENGTH tokens.

1. Learning rate: one pass over the first RATE_QUESTIONS training questions at each of RATES, one seed; the rate with
   the lowest loss on the validation split is taken.
2. The run: one pass over the training split at that rate, for each of SEEDS, which draw the first factors and the
   order of the questions. The loss on the test split is measured every EVERY steps.
3. Answers to the test questions, greedy, at most NEW_TOKENS tokens, by the base and by each tuned model: their quality
   as `evaluate.AnswerQuality` counts it, and the answers to SHOWN of them, drawn by a seed.

Each piece is a process of its own, so that a peak of memory is that of one run: `peak_bytes` is what the whole process
held at most, PyTorch and Python included, beside the estimate of a step's tensors. Pieces are kept in build/smollm2 and
not repeated. Of the posts, titles and question ids are stored, nothing else. Writes
lorabook/assets/results/final_run/smollm2_run.json.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lorabook import LoRAConfig, apply_lora
from lorabook.data.examples import Example, Pair, encode_all
from lorabook.data.split import split
from lorabook.data.stackoverflow import load
from lorabook.memory.estimate import estimate
from lorabook.memory.plan import Plan
from lorabook.models.load import LoadedModel, load_model
from lorabook.peft_format import adapter_file
from lorabook.step.config import TrainConfig
from lorabook.training.answers import Answer, AnswerQuality, answers
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune
from scripts.assets import records

RESULT = Path("lorabook/assets/results/final_run/smollm2_run.json")
PIECES = Path("build/smollm2")
ROWS, TRAIN, VALIDATION, TEST, RATE_QUESTIONS = 2000, 1500, 60, 100, 240
R, ALPHA, MAX_LENGTH, NEW_TOKENS, SHOWN = 16, 32, 512, 256, 30
RATES, SEEDS, EVERY, SPLIT_SEED = (2e-4, 5e-4, 1e-3, 2e-3, 4e-3), (0, 1), 25, 0
TARGETS = ("all-linear",)


def splits(data: str) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """Training, validation and test questions."""
    rest, test = split(load(data, rows=ROWS).pairs, TEST, SPLIT_SEED)
    rest, validation = split(rest, VALIDATION, SPLIT_SEED)
    return rest[:TRAIN], validation, test


def shown(test: list[Pair]) -> list[Pair]:
    """The test questions whose answers are stored."""
    return random.Random(SPLIT_SEED).sample(sorted(test, key=lambda pair: pair.question_id), SHOWN)


def train(loaded: LoadedModel, examples: list[Example], held_out: list[Example], config: TrainConfig, output: Path):
    apply_lora(loaded.model, LoRAConfig(R, ALPHA, targets=TARGETS, seed=config.seed))
    return finetune(loaded.model, examples, held_out, config, output=output, resume=True)


def rate(data: str, lr: float) -> dict[str, Any]:
    """Piece 1: the validation loss at one learning rate."""
    train_pairs, validation, _ = splits(data)
    loaded = load_model("smollm2", device="cpu")
    examples = encode_all(train_pairs[:RATE_QUESTIONS], loaded.tokenizer, MAX_LENGTH)
    held = encode_all(validation, loaded.tokenizer, MAX_LENGTH)
    history = train(loaded, examples, held, TrainConfig(lr=lr, epochs=1), PIECES / f"rate-{lr:g}")
    return {"lr": lr, "steps": len(history.steps), "tokens": history.tokens, "held_out": history.held_out}


def base(data: str) -> dict[str, Any]:
    """Piece 2: the base's loss and answers."""
    _, _, test = splits(data)
    loaded = load_model("smollm2", device="cpu")
    held = encode_all(test, loaded.tokenizer, MAX_LENGTH)
    found = {"revision": loaded.revision, "loss": answer_loss(loaded.model, held).loss}
    return found | said(loaded, test)


def run(data: str, seed: int, lr: float) -> dict[str, Any]:
    """Piece 3: the training run of one seed."""
    train_pairs, _, test = splits(data)
    loaded = load_model("smollm2", device="cpu")
    examples = encode_all(train_pairs, loaded.tokenizer, MAX_LENGTH)
    held = encode_all(test, loaded.tokenizer, MAX_LENGTH)
    config = TrainConfig(lr=lr, epochs=1, evaluate_every=EVERY, checkpoint_every=EVERY, seed=seed)
    output = PIECES / f"seed-{seed}"
    history = train(loaded, examples, held, config, output)
    adapter_file.save(loaded.model, output, base_name=loaded.name, revision=loaded.revision)
    plan = Plan(LoRAConfig(R, ALPHA, targets=TARGETS), config.micro_tokens // MAX_LENGTH, MAX_LENGTH, "fp32")
    predicted = estimate("smollm2", plan)
    return {
        "seed": seed,
        "training": asdict(config),
        "steps": len(history.steps),
        "questions": len(examples),
        "tokens": history.tokens,
        "answer_tokens": sum(s.label_tokens for s in history.steps),
        "training_minutes": round(sum(s.seconds for s in history.steps) / 60, 1),
        "tokens_per_second": round(history.tokens_per_second),
        "peak_bytes": history.peak_bytes,
        "estimated_peak_bytes": predicted.predicted_peak,
        "held_out": history.held_out,
        "loss": [round(s.loss, 4) for s in history.steps],
        "adapter_bytes": (output / adapter_file.WEIGHTS_NAME).stat().st_size,
    }


def tuned(data: str, seed: int) -> dict[str, Any]:
    """Piece 4: the answers of the model that one seed's run tuned."""
    _, _, test = splits(data)
    loaded = load_model("smollm2", device="cpu")
    adapter_file.load(loaded.model, PIECES / f"seed-{seed}", base_name=loaded.name)
    return said(loaded, test)


def said(loaded: LoadedModel, test: list[Pair]) -> dict[str, Any]:
    began = time.monotonic()
    written = answers(loaded.model, loaded.tokenizer, test, NEW_TOKENS)
    minutes = round((time.monotonic() - began) / 60, 1)
    return {"minutes": minutes, "answers": {pair.question_id: asdict(a) for pair, a in zip(test, written)}}


def piece(name: str, *arguments: str) -> dict[str, Any]:
    """A kept piece, or the same made by a new process."""
    path = PIECES / f"{name}.json"
    if not path.exists():
        subprocess.run(
            [sys.executable, "-m", "scripts.assets.smollm2_run", "--piece", *arguments, "--to", str(path)], check=True
        )
    return json.loads(path.read_text())


def quality(found: dict[str, Any]) -> dict[str, float]:
    return asdict(AnswerQuality.of([Answer(**a) for a in found["answers"].values()]))


def main(data: str) -> None:
    rates = [piece(f"rate-{lr:g}", "rate", data, str(lr)) for lr in RATES]
    best = min(rates, key=lambda found: found["held_out"][-1][1])["lr"]
    before = piece("base", "base", data)
    runs = [piece(f"run-{seed}", "run", data, str(seed), str(best)) for seed in SEEDS]
    after = [piece(f"tuned-{seed}", "tuned", data, str(seed)) for seed in SEEDS]
    facts = {
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "weights": before["revision"],
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}, fp32",
        "data": {"rows": ROWS, "train": TRAIN, "validation": VALIDATION, "test": TEST, "split_seed": SPLIT_SEED},
        "lora": {"r": R, "alpha": ALPHA, "targets": TARGETS, "dropout": 0.0},
        "max_length": MAX_LENGTH,
        "rates": {"questions": RATE_QUESTIONS, "seed": 0, "best": best, "runs": rates},
        "base": {"loss": before["loss"], "quality": quality(before), "minutes": before["minutes"]},
        "runs": [found | {"quality": quality(a), "answer_minutes": a["minutes"]} for found, a in zip(runs, after)],
        "new_tokens": NEW_TOKENS,
        "answers": [
            {"question_id": pair.question_id, "title": pair.title}
            | {"base": before["answers"][str(pair.question_id)]}
            | {"tuned": [a["answers"][str(pair.question_id)] for a in after]}
            for pair in shown(splits(data)[2])
        ],
    }
    print(f"{records.write(RESULT, 'scripts/assets/smollm2_run.py', facts):,} bytes in {RESULT}")


def make(name: str, *arguments: str) -> dict[str, Any]:
    if name == "rate":
        return rate(arguments[0], float(arguments[1]))
    if name == "base":
        return base(arguments[0])
    if name == "run":
        return run(arguments[0], int(arguments[1]), float(arguments[2]))
    return tuned(arguments[0], int(arguments[1]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--piece", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.piece:
        found = make(*asked.piece)
        asked.to.parent.mkdir(parents=True, exist_ok=True)
        asked.to.write_text(json.dumps(found))
    elif asked.data:
        main(asked.data)
    else:
        parser.error("--data is needed")
