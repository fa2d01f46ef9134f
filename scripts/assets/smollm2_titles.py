"""What LoRA makes of SmolLM2-135M-Instruct when it is trained to write the titles of questions, on a CPU.

    python -m scripts.assets.smollm2_titles --data FILE        an hour on two cores; run it again to go on after a stop

The same file and splits as in `smollm2_run.py`; each pair is a question's body, cut after LETTERS letters so that no
prompt is too long, and its title instead of an answer.

1. Learning rate: one pass over RATE_QUESTIONS training questions at each of RATES, one seed; the rate with the lowest
   loss on the validation split is taken.
2. The run: one pass over TRAIN questions at that rate, for each of SEEDS; the loss on the test split.
3. The base, with the same prompt, and as a chat model that is asked for a title: with the wording of WORDINGS after
   which the validation split's titles have the lowest loss.
4. Titles for the test questions, greedy, at most NEW_TOKENS tokens; those for `smollm2_run.shown` are stored.

Pieces are kept in build/titles and not repeated. Of the posts, titles and question ids are stored, nothing else. Writes
lorabook/assets/results/final_run/smollm2_titles.json.
"""

import argparse
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from lorabook import LoRAConfig, apply_lora
from lorabook.data.examples import Pair, encode_all
from lorabook.models.load import LoadedModel, load_model
from lorabook.step.config import TrainConfig
from lorabook.training.answers import Answer, answers
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune
from scripts.assets import records, smollm2_run
from scripts.assets.pocket_runs import kept

RESULT, PIECES = Path("lorabook/assets/results/final_run/smollm2_titles.json"), Path("build/titles")
TRAIN, RATE_QUESTIONS, LETTERS, MAX_LENGTH, NEW_TOKENS = 500, 240, 1000, 512, 40
R, ALPHA, RATES, SEEDS = 16, 32, (5e-4, 1e-3, 2e-3, 4e-3, 8e-3), (0, 1)
WORDINGS = (
    "{}\n\nWrite a short title for this question.",
    "Write a short title for this question:\n\n{}",
    "{}\n\nSummarize this question in one line, as a title. Reply with the title only.",
)


def splits(data: str) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """Training, validation and test pairs: a question's body, and its title as the answer."""
    train, validation, test = smollm2_run.splits(data)

    def titled(pairs: list[Pair]) -> list[Pair]:
        return [replace(pair, title="", question=pair.question[:LETTERS], answer=pair.title) for pair in pairs]

    return titled(train), titled(validation), titled(test)


def trained(data: str, questions: int, lr: float, seed: int) -> tuple[LoadedModel, dict[str, Any]]:
    """SmolLM2 with LoRA after one pass, and facts of the run."""
    train, validation, _ = splits(data)
    loaded = load_model("smollm2", device="cpu")
    apply_lora(loaded.model, LoRAConfig(R, ALPHA, seed=seed))
    config = TrainConfig(lr=lr, epochs=1, seed=seed, log_every=10)
    examples = encode_all(train[:questions], loaded.tokenizer, MAX_LENGTH)
    history = finetune(loaded.model, examples, encode_all(validation[:1], loaded.tokenizer, MAX_LENGTH), config)
    if history.stopped != "finished":
        raise SystemExit(f"the run was {history.stopped} and is not kept")
    minutes = round(sum(step.seconds for step in history.steps) / 60, 1)
    facts = {"lr": lr, "seed": seed, "steps": len(history.steps), "tokens": history.tokens, "minutes": minutes}
    return loaded, facts


def loss(model: nn.Module, tokenizer, pairs: Sequence[Pair], chat: bool = False) -> float:
    return answer_loss(model, encode_all(pairs, tokenizer, MAX_LENGTH, chat)).loss


def titles(loaded: LoadedModel, pairs: Sequence[Pair], chat: bool = False) -> dict[str, Any]:
    """Of each pair, by its id, the title that the model writes."""
    found = answers(loaded.model, loaded.tokenizer, pairs, NEW_TOKENS, max_length=MAX_LENGTH, chat_template=chat)
    return {str(pair.question_id): asdict(each) for pair, each in zip(pairs, found)}


def rate(data: str, lr: float) -> dict[str, Any]:
    loaded, facts = trained(data, RATE_QUESTIONS, lr, seed=0)
    return facts | {"validation": loss(loaded.model, loaded.tokenizer, splits(data)[1])}


def tuned(data: str, lr: float, seed: int) -> dict[str, Any]:
    loaded, facts = trained(data, TRAIN, lr, seed)
    test = splits(data)[2]
    return facts | {"test": loss(loaded.model, loaded.tokenizer, test), "titles": titles(loaded, test)}


def base(data: str) -> dict[str, Any]:
    """The base in the prompt of the training, and in the chat format with the best wording."""
    _, validation, test = splits(data)
    loaded = load_model("smollm2", device="cpu")
    plain = {"test": loss(loaded.model, loaded.tokenizer, test), "titles": titles(loaded, test)}

    def asked(pairs: list[Pair], wording: str) -> list[Pair]:
        return [replace(pair, question=wording.format(pair.question)) for pair in pairs]

    losses = {wording: loss(loaded.model, loaded.tokenizer, asked(validation, wording), True) for wording in WORDINGS}
    best = min(losses, key=lambda wording: losses[wording])
    chat = {"test": loss(loaded.model, loaded.tokenizer, asked(test, best), True), "validation": losses}
    chat |= {"wording": best, "titles": titles(loaded, asked(test, best), True)}
    return {"plain": plain, "chat": chat, "weights": loaded.revision}


def main(data: str) -> None:
    key = {"letters": LETTERS, "length": MAX_LENGTH, "tokens": NEW_TOKENS, "r": R, "alpha": ALPHA}
    rates = []
    for lr in RATES:
        made = kept(PIECES / f"rate-{lr:g}.json", key | {"questions": RATE_QUESTIONS}, lambda lr=lr: rate(data, lr))
        print(made, flush=True)
        rates.append(made)
    best = min(rates, key=lambda found: found["validation"])["lr"]
    before = kept(PIECES / "base.json", key | {"wordings": WORDINGS}, lambda: base(data))
    run_key = key | {"questions": TRAIN, "lr": best}
    runs = [kept(PIECES / f"run-{seed}.json", run_key, lambda s=seed: tuned(data, best, s)) for seed in SEEDS]
    ways = {"base": before["plain"], "chat": before["chat"]} | {f"seed {s}": run for s, run in zip(SEEDS, runs)}
    written = {way: found.pop("titles") for way, found in ways.items()}
    ended = {way: sum(Answer(**each).ended for each in of.values()) for way, of in written.items()}
    facts = {
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "weights": before["weights"],
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}, fp32",
        "train": TRAIN,
        "test": len(written["base"]),
        "new_tokens": NEW_TOKENS,
        "rates": rates,
        "ways": {way: found | {"ended": ended[way]} for way, found in ways.items()},
        "titles": [
            {"question_id": pair.question_id, "title": pair.title}
            | {way: of[str(pair.question_id)]["text"] for way, of in written.items()}
            for pair in smollm2_run.shown(smollm2_run.splits(data)[2])
        ],
    }
    print(f"{records.write(RESULT, 'scripts/assets/smollm2_titles.py', facts):,} bytes in {RESULT}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    main(parser.parse_args().data)
