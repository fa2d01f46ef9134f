"""Does pre-training lower the intrinsic dimension? Four checkpoints of the pocket model on one classification task.

    pip install networkx rich tornado beautifulsoup4 jinja2       # the packages that pre-training held out
    python -m scripts.assets.pretraining_dimension

The checkpoints have seen 0, 2, 10 and 100% of the pocket model's pre-training tokens. The last is the model that
ships. The others are made here by the first tenth of the same pre-training (`pretrain_pocket.py`: the architecture,
seed, batches and learning rates), with the shipped tokenizer, on the permissively licensed packages installed here.

The task: 24 tokens of Python source, then 24 more. Do these continue the first, or do they come from elsewhere in the
same file? Half of the examples are of each kind, the files are of packages that no checkpoint has seen, and the files
of the training, validation and test examples are different ones. Every checkpoint gets a fresh linear head on its last
hidden state and is trained for STEPS steps on examples that are seen once, by

- "full": every parameter, nothing projected;
- theta0 + P theta_d for every d of DIMENSIONS, and for d = D, where the same projection loses nothing.

Every learning rate is chosen by the loss on the validation split with the first seed (RATE * 2^k * sqrt(D / d); the
search goes on until the best rate has a worse one on either side), then run with the other seeds, and the accuracy on
the test split is measured once for each of those runs. A seed draws the head, the projection and the order of the
examples. "curve" holds validation losses along the way: whether a run had come to rest.

Runs are kept in build/pretraining_dimension and not repeated. Writes
lorabook/assets/results/intrinsic_dimension/pretraining.json.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lorabook.data.examples import tokenize
from lorabook.models import load_model
from lorabook.step.config import schedule
from lorabook.subspace.training import Subspace, apply_subspace
from lorabook.workbook.intrinsic_dimension.continuation import Classifier, accuracy, examples
from lorabook.workbook.kit.shipped_source import source_files
from lorabook.workbook.rank_and_alpha.forgetting import SOURCE
from scripts.assets import pocket_corpus, pretrain_pocket, records
from scripts.assets.pocket_runs import kept, search

RESULT = Path("lorabook/assets/results/intrinsic_dimension/pretraining.json")
RUNS = Path("build/pretraining_dimension")
CHECKPOINTS = (0, 2, 10, 100)  # percent of the tokens that the shipped model has seen
DIMENSIONS = (30, 100, 300, 1_000, 3_000, 10_000, 100_000)
SEEDS = (0, 1, 2)
BATCH, STEPS, RATE = 32, 200, 1e-3
VALIDATION, TEST = 1_000, 4_000
EVERY, LIVE_STEPS = 100, 40


def card() -> dict:
    return json.loads(Path("lorabook/assets/pocket/card.json").read_text())


@cache
def text() -> dict[str, list[Tensor]]:
    """Held-out source files as ids, in three splits. Every seventh file is for validation, every third for the test."""
    tokenizer = load_model("pocket", device="cpu").tokenizer
    _, held, _ = pocket_corpus.documents()
    files = [torch.tensor(tokenizer(t)["input_ids"]) for t in held]
    files = [ids for ids in files if len(ids) >= 200]
    splits: dict[str, list[Tensor]] = {"train": [], "validation": [], "test": []}
    for number, ids in enumerate(files):
        splits["validation" if number % 7 == 0 else "test" if number % 3 == 0 else "train"].append(ids)
    return splits


def pretrained() -> None:
    """Write the checkpoints at 0, 2 and 10% to RUNS: the beginning of the pocket model's pre-training."""
    wanted = {share: RUNS / f"{share}.safetensors" for share in CHECKPOINTS[:-1]}
    if all(file.exists() for file in wanted.values()):
        return
    total = card()["tokens_seen"]
    tokenizer = load_model("pocket", device="cpu").tokenizer
    texts, _, _ = pocket_corpus.documents()
    stream = pocket_corpus.encode(tokenizer.backend_tokenizer, texts)
    order = np.random.default_rng(0).permutation((len(stream) - 1) // 512)
    model = pretrain_pocket.build_model()
    optimizer = pretrain_pocket.optimizer_of(model)
    RUNS.mkdir(parents=True, exist_ok=True)
    step, losses = 0, []
    for share, file in wanted.items():
        while step * pretrain_pocket.BATCH_TOKENS < share / 100 * total:
            for group in optimizer.param_groups:
                group["lr"] = pretrain_pocket.learning_rate(step * pretrain_pocket.BATCH_TOKENS, total, step)
            losses.append(
                pretrain_pocket.train_step(model, optimizer, pretrain_pocket.batch(stream, order, step, total))
            )
            step += 1
            if step % 50 == 0:
                print(f"pre-training, step {step}: {np.mean(losses[-50:]):.3f}", flush=True)
        save_file({name: p.detach() for name, p in model.named_parameters()}, file)
    facts = {"corpus_tokens": len(stream), "tokens": {s: math.ceil(s / 100 * total / 4096) * 4096 for s in wanted}}
    (RUNS / "pretraining.json").write_text(json.dumps(facts))


def body(share: int) -> nn.Module:
    """The checkpoint without its language-model head."""
    model = load_model("pocket", device="cpu").model
    if share != CHECKPOINTS[-1]:
        state = load_file(RUNS / f"{share}.safetensors")
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(state[name])
    return model.transformer


@dataclass(frozen=True)
class Setting:
    """One run; d None trains every parameter without a projection."""

    checkpoint: int
    d: int | None
    k: int
    seed: int = 0

    def lr(self, D: int) -> float:
        return float(f"{RATE * 2**self.k * math.sqrt(D / (self.d or D)):.3g}")

    @property
    def file(self) -> Path:
        return RUNS / f"{self.checkpoint}-{self.d or 'full'}-k{self.k}-s{self.seed}.json"


def batches(files: list[Tensor], seed: int, steps: int) -> Iterable[tuple[Tensor, Tensor]]:
    ids, labels = examples(files, BATCH * steps, random.Random(1000 + seed))
    return zip(ids.split(BATCH), labels.split(BATCH))


@cache
def fixed(split: str, count: int) -> tuple[Tensor, Tensor]:
    return examples(text()[split], count, random.Random(0))


@torch.no_grad()
def validation_loss(model: Classifier) -> float:
    ids, labels = fixed("validation", VALIDATION)
    losses = [F.cross_entropy(model(i), y, reduction="sum").item() for i, y in zip(ids.split(250), labels.split(250))]
    return sum(losses) / len(labels)


def run(s: Setting) -> dict:
    """The facts of one run."""

    def make() -> dict:
        began = time.process_time()
        model = Classifier(body(s.checkpoint), s.seed)
        D = sum(p.numel() for p in model.parameters())
        subspace = apply_subspace(model, s.d, seed=s.seed) if s.d else None
        curve: list[list[float]] = []

        def measure(step: int) -> None:
            if step % EVERY == 0:
                curve.append([step, round(validation_loss(model), 4)])

        train(model, subspace, s.lr(D), batches(text()["train"], s.seed, STEPS), STEPS, measure)
        facts = {"lr": s.lr(D), "validation": curve[-1][1], "curve": curve}
        facts["validation_accuracy"] = accuracy(model, *fixed("validation", VALIDATION))
        facts["test_accuracy"] = accuracy(model, *fixed("test", TEST))
        facts["cpu_seconds"] = round(time.process_time() - began, 1)
        print(f"{s.file.stem}: {facts['validation']:.4f}, {facts['validation_accuracy']:.3f}, "
              f"{facts['cpu_seconds']:.0f} s", flush=True)  # fmt: skip
        return facts

    key = asdict(s) | {"batch": BATCH, "steps": STEPS, "rate": RATE}
    return kept(s.file, key, make)


def train(
    model: Classifier,
    subspace: Subspace | None,
    lr: float,
    data: Iterable[tuple[Tensor, Tensor]],
    steps: int,
    after: Callable[[int], None] = lambda step: None,
) -> None:
    """AdamW with a warm-up of a twentieth and a cosine to zero; `after` is called with the steps taken."""
    trained = [p for _, p in subspace.trained()] if subspace else list(model.parameters())
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=0.0, fused=True)
    for step, (ids, labels) in enumerate(data):
        optimizer.param_groups[0]["lr"] = lr * schedule(step / steps, 0.05)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(ids)
        F.cross_entropy(logits.float(), labels).backward()
        if subspace:
            subspace.pull()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if subspace:
            subspace.write()
        after(step + 1)


def live() -> dict[str, float]:
    """Accuracies of short runs from the shipped model on the source that ships, for a test to repeat."""
    tokenizer = load_model("pocket", device="cpu").tokenizer
    *files, held = (torch.tensor(tokenize(t, tokenizer)) for t in source_files(SOURCE).values())
    found = {}
    for name, d, lr in (("full", None, 1e-3), ("d = 1000", 1000, 0.03)):
        model = Classifier(body(100), 0)
        subspace = apply_subspace(model, d, seed=0) if d else None
        train(model, subspace, lr, batches(files, 0, LIVE_STEPS), LIVE_STEPS)
        found[name] = accuracy(model, *examples([held], 1_000, random.Random(0)))
    return found


def tuned(share: int, d: int | None, k: int, D: int) -> tuple[int, dict]:
    """The best k, and the accuracies of every seed there."""
    losses = search(lambda k: run(Setting(share, d, k))["validation"], (k, k + 1, k - 1))
    best = min(losses, key=lambda k: losses[k])
    runs = [run(Setting(share, d, best, seed)) for seed in SEEDS]
    return best, {
        "d": d,
        "lr": runs[0]["lr"],
        "test_accuracy": [r["test_accuracy"] for r in runs],
        "validation_accuracy": [r["validation_accuracy"] for r in runs],
        "rates": {f"{Setting(share, d, k).lr(D):g}": losses[k] for k in sorted(losses)},
        "curve": runs[0]["curve"],
        "cpu_seconds": round(sum(r["cpu_seconds"] for r in runs), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=int, choices=CHECKPOINTS, help="run this one alone, write nothing")
    asked = parser.parse_args()
    pretrained()
    D = sum(p.numel() for p in Classifier(body(0), 0).parameters())
    found = {}
    for share in [asked.checkpoint] if asked.checkpoint is not None else CHECKPOINTS:
        k, full = tuned(share, None, -1, D)
        points = []
        for d in (D, *sorted(DIMENSIONS, reverse=True)):
            k, point = tuned(share, d, k, D)
            points.append(point)
        found[str(share)] = {"full": full, "points": points[::-1]}
    if asked.checkpoint is not None:
        return
    record = {"D": D, "batch": BATCH, "steps": STEPS, "seeds": SEEDS, "validation": VALIDATION, "test": TEST}
    record |= {"pretraining": json.loads((RUNS / "pretraining.json").read_text()), "checkpoints": found, "live": live()}
    print(f"{RESULT}: {records.write(RESULT, 'scripts/assets/pretraining_dimension.py', record):,} bytes")


if __name__ == "__main__":
    main()
