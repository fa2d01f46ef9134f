"""What LoRA makes of SmolLM2-135M-Instruct on notebook 09's made-up tool, with a rule and without, on a CPU.

    python -m scripts.assets.smollm2_tool        a quarter of an hour on two cores; run it again to go on after a stop

The questions are the notebook's: 96 of them, a fifth held out. With the rule, each verb has one flag; without, each
question has a random one, which at last is also said in the question. The settings are those of the notebook's section
"On Monday", for each of SEEDS. Stored are the loss on the new questions before and after, how many the model answers
exactly, and their right answers.

Pieces are kept in build/tool and not repeated. Writes lorabook/assets/results/final_run/smollm2_tool.json.
"""

import json
import os
import platform
import random
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from lorabook import LoRAConfig, apply_lora, data
from lorabook.data.examples import Pair, encode_all
from lorabook.models.load import LoadedModel, load_model
from lorabook.step.config import TrainConfig, recommended_lr
from lorabook.training.answers import answers
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune
from lorabook.workbook.clinic.cases import FLAGS, tool_pairs
from scripts.assets import records
from scripts.assets.pocket_runs import kept

RESULT, PIECES = Path("lorabook/assets/results/final_run/smollm2_tool.json"), Path("build/tool")
R, ALPHA, STEPS, BATCH_TOKENS, MAX_LENGTH, NEW_TOKENS, SEEDS = 16, 32, 60, 512, 512, 20, (0, 1)
KINDS = ("with a rule", "random flags", "flag in the question")


def pairs(kind: str) -> list[Pair]:
    """The tool's 96 questions, as the notebook writes and loads them, then changes them for each of KINDS."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mine.jsonl"
        rows = [{"question": pair.question, "answer": pair.answer} for pair in tool_pairs()]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        loaded = data.load(file).pairs
    if kind == "with a rule":
        return loaded
    random.seed(0)
    flags = [random.choice(list(FLAGS.values())) for _ in loaded]
    drawn = [replace(pair, answer=f"{pair.answer.split('--')[0]}--{flag}`.") for pair, flag in zip(loaded, flags)]
    if kind == "random flags":
        return drawn
    return [replace(pair, question=f"{pair.question} Its flag is --{flag}.") for pair, flag in zip(drawn, flags)]


def exact(loaded: LoadedModel, asked: list[Pair]) -> int:
    written = answers(loaded.model, loaded.tokenizer, asked, NEW_TOKENS)
    return sum(said.text == pair.answer for said, pair in zip(written, asked))


def tuned(kind: str, seed: int) -> dict[str, Any]:
    train, held = data.split(pairs(kind), held_out=0.2)
    loaded = load_model("smollm2", device="cpu")
    new = encode_all(held, loaded.tokenizer, MAX_LENGTH)
    before = {"loss": answer_loss(loaded.model, new).loss, "exact": exact(loaded, held)}
    apply_lora(loaded.model, LoRAConfig(R, ALPHA, seed=seed))
    lr = recommended_lr(loaded.model.num_parameters())
    config = TrainConfig(lr=lr, steps=STEPS, batch_tokens=BATCH_TOKENS, seed=seed, log_every=10)
    history = finetune(loaded.model, encode_all(train, loaded.tokenizer, MAX_LENGTH), new, config)
    if history.stopped != "finished":
        raise SystemExit(f"the run was {history.stopped} and is not kept")
    after = {"loss": answer_loss(loaded.model, new).loss, "exact": exact(loaded, held)}
    minutes = round(sum(step.seconds for step in history.steps) / 60, 1)
    facts = {"lr": lr, "seed": seed, "minutes": minutes, "before": before, "after": after}
    return facts | {"in training": exact(loaded, train), "weights": loaded.revision}


def main() -> None:
    key = {"r": R, "alpha": ALPHA, "steps": STEPS, "tokens": BATCH_TOKENS}
    runs: dict[str, list[dict[str, Any]]] = {}
    for kind in KINDS:
        runs[kind] = []
        for seed in SEEDS:
            made = kept(PIECES / f"{kind.replace(' ', '-')}-{seed}.json", key, lambda k=kind, s=seed: tuned(k, s))
            print(kind, made, flush=True)
            runs[kind].append(made)
    weights = {run.pop("weights") for of in runs.values() for run in of}
    facts = {
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "weights": weights.pop(),
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}, fp32",
        "train": len(data.split(pairs(KINDS[0]), held_out=0.2)[0]),
        "runs": runs,
        "new": {kind: [pair.answer for pair in data.split(pairs(kind), held_out=0.2)[1]] for kind in KINDS},
    }
    print(f"{records.write(RESULT, 'scripts/assets/smollm2_tool.py', facts):,} bytes in {RESULT}")


if __name__ == "__main__":
    main()
