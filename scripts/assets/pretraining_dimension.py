"""Does pre-training lower the intrinsic dimension? Four checkpoints of the pocket model on one classification task.

    pip install networkx==3.6.1 tornado==6.6.1 rich beautifulsoup4 jinja2     # held out of pre-training
    python -m scripts.assets.pretraining_dimension [--checkpoint 100]

The checkpoints have seen 0, 2, 10 and 100% of the pocket model's pre-training tokens. The last is the model that
ships. The others are made here by the first tenth of the same pre-training (`pretrain_pocket.py`: its architecture,
seed, batches and learning rates) with the shipped tokenizer, on the permissively licensed packages installed here.

The task: 24 tokens of Python source, from which of PACKAGES? No checkpoint has seen either of them. The files of
training, validation and test examples are different ones. Every checkpoint gets a fresh linear head on the mean of its
last hidden states, and STEPS steps on TRAIN examples, by

- "full": every parameter, nothing projected;
- theta0 + P theta_d for every d of DIMENSIONS, and for d = D, where P loses nothing.

Every learning rate is chosen by the accuracy on the validation split with the first seed (RATE * 2^k * sqrt(D / d); the
search goes on until the best rate has a worse one on either side), then run with the other seeds. The accuracy on the
test split is measured once for each of those. A seed draws the head, the projection, the examples and their order.
"plateau" holds what twice the steps give at the best rate of full training. "head" is the control for small d: the
fresh head trained alone, on the frozen checkpoint, at 0 and 100%.

"tried" holds the accuracy of full training on two tasks that were tried before, at each of TRIED_RATES: whether the
second half of the tokens continues the first or comes from elsewhere in the file; whether two adjacent tokens have been
swapped. Even with 6,400 examples both stay too close to chance for nine tenths of the way to mean anything.

Runs are kept in build/pretraining_dimension and not repeated. Writes
lorabook/assets/results/intrinsic_dimension/pretraining.json.
"""

import argparse
import importlib.metadata
import json
import math
import random
import time
from collections.abc import Iterable
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
from lorabook.workbook.intrinsic_dimension.which_package import LENGTH, Classifier, accuracy, examples
from lorabook.workbook.kit.shipped_source import source_files
from lorabook.workbook.rank_and_alpha.forgetting import SOURCE
from scripts.assets import pocket_corpus, pretrain_pocket, records
from scripts.assets.pocket_runs import kept, search

RESULT = Path("lorabook/assets/results/intrinsic_dimension/pretraining.json")
RUNS = Path("build/pretraining_dimension")
CARD = Path("lorabook/assets/pocket/card.json")
CHECKPOINTS = (0, 2, 10, 100)  # percent of the tokens that the shipped model has seen
DIMENSIONS = (30, 100, 300, 1_000, 3_000, 10_000, 100_000)
SEEDS = (0, 1, 2)
PACKAGES = ("networkx", "tornado")
TRAIN, VALIDATION, TEST = 512, 2_000, 4_000
BATCH, STEPS, RATE = 32, 120, 1e-3
LIVE_STEPS, LIVE_TEST = 20, 400
TRIED_RATES, TRIED_STEPS = (2.5e-4, 5e-4), 200

Data = Iterable[tuple[Tensor, Tensor]]


@cache
def files() -> dict[str, list[list[Tensor]]]:
    """The source files of PACKAGES as ids, in three splits: of every eight files one for validation, two for test."""
    tokenizer = load_model("pocket", device="cpu").tokenizer
    splits: dict[str, list[list[Tensor]]] = {"train": [], "validation": [], "test": []}
    for package in PACKAGES:
        paths = importlib.metadata.distribution(package).files or []
        texts = [
            Path(str(path.locate())).read_text(encoding="utf-8")
            for path in sorted(paths)
            if path.suffix == ".py" and not {"test", "tests"} & set(path.parts)
        ]
        ids = [torch.tensor(tokenize(text, tokenizer)) for text in texts if len(text) > 500]
        random.Random(0).shuffle(ids)
        for name, eighths in (("validation", (0,)), ("test", (1, 2)), ("train", (3, 4, 5, 6, 7))):
            splits[name].append([file for number, file in enumerate(ids) if number % 8 in eighths])
    return splits


def pretrained() -> None:
    """Write the checkpoints at 0, 2 and 10% to RUNS: the beginning of the pocket model's pre-training."""
    wanted = {share: RUNS / f"{share}.safetensors" for share in CHECKPOINTS[:-1]}
    if all(file.exists() for file in wanted.values()):
        return
    total = json.loads(CARD.read_text())["tokens_seen"]
    tokenizer = load_model("pocket", device="cpu").tokenizer
    texts, _, _ = pocket_corpus.documents()
    stream = pocket_corpus.encode(tokenizer.backend_tokenizer, texts)
    order = np.random.default_rng(0).permutation((len(stream) - 1) // 512)
    model = pretrain_pocket.build_model()
    optimizer = pretrain_pocket.optimizer_of(model)
    RUNS.mkdir(parents=True, exist_ok=True)
    losses: list[float] = []
    found = {}
    for share, file in wanted.items():
        while (seen := len(losses) * pretrain_pocket.BATCH_TOKENS) < share / 100 * total:
            for group in optimizer.param_groups:
                group["lr"] = pretrain_pocket.learning_rate(seen, total, len(losses))
            rows = pretrain_pocket.batch(stream, order, len(losses), total)
            losses.append(pretrain_pocket.train_step(model, optimizer, rows))
            if len(losses) % 50 == 0:
                print(f"pre-training, step {len(losses)}: {np.mean(losses[-50:]):.3f}", flush=True)
        found[share] = {"tokens": seen, "loss": round(float(np.mean(losses[-20:])), 3) if losses else None}
        save_file({name: p.detach() for name, p in model.named_parameters()}, file)
    (RUNS / "pretraining.json").write_text(json.dumps({"corpus_tokens": len(stream), "checkpoints": found}))


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
    """One run; d None trains every parameter without a projection, d 0 the head alone."""

    checkpoint: int
    d: int | None
    k: int
    seed: int = 0

    def lr(self, D: int) -> float:
        return float(f"{RATE * 2.0**self.k * math.sqrt(D / (self.d or D)):.3g}")

    @property
    def file(self) -> Path:
        return RUNS / f"{self.checkpoint}-{'full' if self.d is None else self.d}-k{self.k}-s{self.seed}.json"


def batches(ids: Tensor, labels: Tensor, seed: int, steps: int) -> Data:
    """`steps` batches, every example once before any is seen again."""
    generator = torch.Generator().manual_seed(seed)
    epochs = -(-BATCH * steps // len(ids))
    order = torch.cat([torch.randperm(len(ids), generator=generator) for _ in range(epochs)])[: BATCH * steps]
    return zip(ids[order].split(BATCH), labels[order].split(BATCH))


def train(model: Classifier, subspace: Subspace | None, lr: float, data: Data, steps: int, mixed: bool = True) -> None:
    """AdamW with a warm-up of a twentieth and a cosine to zero; if `mixed`, products in bf16, as in pre-training."""
    trained = [p for _, p in subspace.trained()] if subspace else [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=0.0, fused=True)
    for step, (ids, labels) in enumerate(data):
        optimizer.param_groups[0]["lr"] = lr * schedule((step + 1) / (steps + 1), 0.05)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
            logits = model(ids)
        F.cross_entropy(logits.float(), labels).backward()
        if subspace:
            subspace.pull()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if subspace:
            subspace.write()


@cache
def held(split: str, count: int) -> tuple[Tensor, Tensor]:
    return examples(files()[split], count, random.Random(0))


def run(s: Setting, steps: int = STEPS) -> dict:
    """The accuracies of one run."""

    def make() -> dict:
        began = time.process_time()
        model = Classifier(body(s.checkpoint), s.seed)
        D = sum(p.numel() for p in model.parameters())
        model.body.requires_grad_(s.d != 0)
        subspace = apply_subspace(model, s.d, seed=s.seed) if s.d else None
        ids, labels = examples(files()["train"], TRAIN, random.Random(1000 + s.seed))
        train(model, subspace, s.lr(D), batches(ids, labels, s.seed, steps), steps)
        splits = {"validation": held("validation", VALIDATION), "test": held("test", TEST)}
        found = {name: accuracy(model, *part) for name, part in splits.items()}
        found["cpu_seconds"] = round(time.process_time() - began, 1)
        print(f"{file.stem}: {found}", flush=True)
        return found

    key = asdict(s) | {"batch": BATCH, "steps": steps, "rate": RATE, "train": TRAIN, "length": LENGTH}
    file = s.file if steps == STEPS else s.file.with_stem(f"{s.file.stem}-{steps}")
    return kept(file, key, make)


def tuned(share: int, d: int | None, k: int, D: int) -> tuple[int, dict]:
    """The best k, and the accuracies of every seed there."""
    errors = search(lambda k: 1 - run(Setting(share, d, k))["validation"], (k, k + 1, k - 1))
    best = min(errors, key=lambda k: errors[k])
    runs = [run(Setting(share, d, best, seed)) for seed in SEEDS]
    return best, {
        "d": d,
        "lr": Setting(share, d, best).lr(D),
        "test": [r["test"] for r in runs],
        "validation": [r["validation"] for r in runs],
        "rates": {f"{Setting(share, d, k).lr(D):g}": round(1 - errors[k], 4) for k in sorted(errors)},
        "cpu_seconds": round(sum(r["cpu_seconds"] for r in runs) / len(runs), 1),
    }


def continuation(files: list[Tensor], count: int, rng: random.Random) -> tuple[Tensor, Tensor]:
    """LENGTH tokens; in half of the examples the second half of them comes from elsewhere in the file."""
    ids, labels, half = [], [], LENGTH // 2
    for file in rng.choices(files, [len(file) for file in files], k=count):
        first, joins = rng.randrange(len(file) - LENGTH + 1), rng.random() < 0.5
        second = first + half
        while not joins and abs(second - first) < LENGTH:
            second = rng.randrange(len(file) - half + 1)
        ids.append(torch.cat([file[first : first + half], file[second : second + half]]))
        labels.append(int(joins))
    return torch.stack(ids), torch.tensor(labels)


def swapped(files: list[Tensor], count: int, rng: random.Random) -> tuple[Tensor, Tensor]:
    """LENGTH tokens; in half of the examples two adjacent ones have changed places."""
    ids, labels = [], []
    for file in rng.choices(files, [len(file) for file in files], k=count):
        first, swap = rng.randrange(len(file) - LENGTH + 1), rng.random() < 0.5
        piece = file[first : first + LENGTH].clone()
        if swap:
            place = int(rng.choice((piece[1:] != piece[:-1]).nonzero().flatten().tolist()))
            piece[place : place + 2] = piece[place : place + 2].flip(0)
        ids.append(piece)
        labels.append(int(swap))
    return torch.stack(ids), torch.tensor(labels)


def tried(share: int) -> dict:
    """The test accuracy of full training on the tasks that were given up."""
    found: dict = {}
    long = {name: [f for part in parts for f in part if len(f) > 200] for name, parts in files().items()}
    for task in (continuation, swapped):
        for lr in TRIED_RATES:

            def make(task=task, lr: float = lr) -> dict:
                model = Classifier(body(share), 0)
                ids, labels = task(long["train"], BATCH * TRIED_STEPS, random.Random(1000))
                train(model, None, lr, batches(ids, labels, 0, TRIED_STEPS), TRIED_STEPS)
                return {"test": accuracy(model, *task(long["test"], TEST, random.Random(0)))}

            file = RUNS / f"{share}-{task.__name__}-{lr:g}.json"
            found.setdefault(task.__name__, {})[f"{lr:g}"] = kept(file, {"steps": TRIED_STEPS}, make)["test"]
    print(share, found, flush=True)
    return found


def heads(D: int) -> dict[str, dict]:
    """The head alone on the frozen checkpoints at both ends of pre-training."""
    return {str(share): tuned(share, 0, 3, D)[1] for share in (CHECKPOINTS[0], CHECKPOINTS[-1])}


def live() -> dict[str, float]:
    """Accuracies of short runs from the shipped model on the source that ships, for a test to repeat.

    In fp32: on a CPU that lacks bf16, its products take many times as long.
    """
    tokenizer = load_model("pocket", device="cpu").tokenizer
    source = {name: torch.tensor(tokenize(text, tokenizer)) for name, text in source_files(SOURCE).items()}
    train_files = [[source["jinja2/environment.py"]], [source["bs4/formatter.py"]]]
    test_files = [[source["jinja2/loaders.py"]], [source["bs4/css.py"]]]
    found = {}
    for name, d, lr in (("full", None, 5e-4), ("d = 1000", 1000, 0.03)):
        model = Classifier(body(100), 0)
        subspace = apply_subspace(model, d, seed=0) if d else None
        data = batches(*examples(train_files, 256, random.Random(0)), 0, LIVE_STEPS)
        train(model, subspace, lr, data, LIVE_STEPS, mixed=False)
        found[name] = accuracy(model, *examples(test_files, LIVE_TEST, random.Random(0)))
    return found


def checkpoint(share: int, D: int) -> dict:
    """Everything of one checkpoint: full training, then every d from the largest down, each rate near the last."""
    k, full = tuned(share, None, -1, D)
    plateau = [run(Setting(share, None, k, seed), 2 * STEPS)["test"] for seed in SEEDS]
    points = []
    for d in (D, *sorted(DIMENSIONS, reverse=True)):
        k, point = tuned(share, d, k, D)
        points.append(point)
    return {"full": full, "plateau": plateau, "points": points[::-1], "tried": tried(share)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=int, choices=CHECKPOINTS, help="this one alone; what is stored stays")
    asked = parser.parse_args()
    pretrained()
    D = sum(p.numel() for p in Classifier(body(0), 0).parameters())
    found = json.loads(RESULT.read_text())["checkpoints"] if RESULT.exists() else {}
    for share in CHECKPOINTS if asked.checkpoint is None else [asked.checkpoint]:
        found[str(share)] = checkpoint(share, D)
    record = {"D": D, "packages": PACKAGES, "length": LENGTH, "train": TRAIN, "validation": VALIDATION, "test": TEST}
    record |= {"batch": BATCH, "steps": STEPS, "seeds": SEEDS}
    record["pretraining"] = json.loads((RUNS / "pretraining.json").read_text())
    record["checkpoints"] = {share: found[share] for share in sorted(found, key=int)}
    record |= {"head": heads(D), "live": live()}
    print(f"{RESULT}: {records.write(RESULT, 'scripts/assets/pretraining_dimension.py', record):,} bytes")


if __name__ == "__main__":
    main()
