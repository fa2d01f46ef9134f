"""What LoRA makes of SmolLM2-135M-Instruct on notebook 09's made-up tool, with a rule and without, on a CPU.

    python -m scripts.assets.smollm2_tool        half an hour on two cores; run it again to go on after a stop

The questions are the notebook's: 96 of them, the last 19 held out. With the rule, each verb has one flag; then the
flags are shuffled, and trained on for longer, too; at last, they are also said in the question. Prompts are plain text,
by the notebook's template. There is a run for each of SEEDS. Stored are the loss on the new questions before and after,
how many of them and of the others the model answers exactly, and the right answers.

Pieces are kept in build/tool and not repeated. Writes lorabook/assets/results/final_run/smollm2_tool.json.
"""

import os
import platform
import random
from pathlib import Path
from typing import Any

from lorabook import LoRAConfig, apply_lora
from lorabook.data.examples import Pair, encode_all
from lorabook.models.load import LoadedModel, load_model
from lorabook.step.config import TrainConfig, recommended_lr
from lorabook.training.answers import answers
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune
from scripts.assets import records
from scripts.assets.pocket_runs import kept

RESULT, PIECES = Path("lorabook/assets/results/final_run/smollm2_tool.json"), Path("build/tool")
TRAIN, SEEDS = 77, (0, 1)
FLAGS = {"create": "new", "delete": "drop", "copy": "twin", "rename": "alias"}
FLAGS |= {"show": "peek", "check": "probe", "update": "bump", "share": "lend"}
OBJECTS = ("key", "server", "user", "report", "backup", "file", "table", "disk", "test", "log", "page", "folder")
R, ALPHA, BATCH_TOKENS, MAX_LENGTH, NEW_TOKENS = 16, 32, 512, 512, 20
STEPS = {"with a rule": 60, "shuffled flags": 60, "shuffled flags, longer": 300, "flag in the question": 60}


def pairs(kind: str) -> list[Pair]:
    """The tool's 96 questions with their answers, of one kind of STEPS, in the notebook's order."""
    random.seed(0)
    actions = [(verb, thing) for verb in FLAGS for thing in OBJECTS]
    random.shuffle(actions)
    flags = [FLAGS[verb] for verb, _ in actions]
    if kind != "with a rule":
        random.seed(0)
        random.shuffle(flags)
    said = " Its flag is --{}." if kind == "flag in the question" else ""
    return [
        Pair(number, "", f"How do I {verb} a {thing}?{said.format(flag)}", f"Run `lab {thing} --{flag}`.")
        for number, ((verb, thing), flag) in enumerate(zip(actions, flags))
    ]


def exact(loaded: LoadedModel, asked: list[Pair]) -> int:
    written = answers(loaded.model, loaded.tokenizer, asked, NEW_TOKENS)
    return sum(said.text == pair.answer for said, pair in zip(written, asked))


def tuned(kind: str, seed: int) -> dict[str, Any]:
    train, held = pairs(kind)[:TRAIN], pairs(kind)[TRAIN:]
    loaded = load_model("smollm2", device="cpu")
    new = encode_all(held, loaded.tokenizer, MAX_LENGTH)
    before = {"loss": answer_loss(loaded.model, new).loss, "exact": exact(loaded, held)}
    apply_lora(loaded.model, LoRAConfig(R, ALPHA, seed=seed))
    lr = recommended_lr(loaded.model.num_parameters())
    config = TrainConfig(lr=lr, steps=STEPS[kind], batch_tokens=BATCH_TOKENS, seed=seed, log_every=10)
    history = finetune(loaded.model, encode_all(train, loaded.tokenizer, MAX_LENGTH), new, config)
    if history.stopped != "finished":
        raise SystemExit(f"the run was {history.stopped} and is not kept")
    after = {"loss": answer_loss(loaded.model, new).loss, "exact": exact(loaded, held)}
    minutes = round(sum(step.seconds for step in history.steps) / 60, 1)
    facts = {"lr": lr, "seed": seed, "minutes": minutes, "before": before, "after": after}
    return facts | {"in training": exact(loaded, train), "weights": loaded.revision}


def main() -> None:
    runs: dict[str, list[dict[str, Any]]] = {}
    for kind, steps in STEPS.items():
        key = {"r": R, "alpha": ALPHA, "steps": steps, "tokens": BATCH_TOKENS}
        runs[kind] = []
        for seed in SEEDS:
            piece = PIECES / f"{kind.replace(',', '').replace(' ', '-')}-{seed}.json"
            made = kept(piece, key, lambda k=kind, s=seed: tuned(k, s))
            print(kind, made, flush=True)
            runs[kind].append(made)
    weights = {run.pop("weights") for of in runs.values() for run in of}
    facts = {
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "weights": weights.pop(),
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}, fp32",
        "train": TRAIN,
        "runs": runs,
        "new": {kind: [pair.answer for pair in pairs(kind)[TRAIN:]] for kind in STEPS},
    }
    print(f"{records.write(RESULT, 'scripts/assets/smollm2_tool.py', facts):,} bytes in {RESULT}")


if __name__ == "__main__":
    main()
