"""Rank, scaling, learning rate, target modules: what they do to fine-tuning the pocket model.

    python -m scripts.assets.sweep_rank_alpha --data FILE

Every run is one pass over the 240 questions of FILE that `scripts/assets/subspace_curves.py` trains on (30 steps of
2,048 tokens), with the loss of 100 other questions' answers before and after it. Rates lie on the grid RATE * 2^k of a
method; the search goes on while the best is the last tried on its side, and the best is run again with the other seeds.
A seed draws the first factors and the order of the rows. The rate is tuned on the held-out answers, for all alike.

- "scaling": LoRA on all linear layers, rank 1 to 256, the scaling constant at 1 (alpha = r), 4 / sqrt(r) and 16 / r;
  at rank 16 the three are one. The rate is searched from four values on.
- "targets": a fixed budget of trained numbers, that of rank 4 on all linear layers, spent on fewer matrices; the
  embedding beside them; the article's modules. Scaling 1.
- "sizes": full fine-tuning of everything, of the linear layers' matrices, of the embeddings; rank 16 with the
  embeddings trained in full beside it; bottleneck adapters of width 1 to 64.
- "long": 600 questions, rates from the above and half of them, with both losses along the way.
- "live": LIVE_STEPS steps on the bundled sample.

Every run also measures the loss on `assets/heldout_source.txt`: what was forgotten. Finished runs are kept in
build/sweep_rank_alpha and not repeated: after an interruption start it again. Writes
lorabook/assets/results/rank_and_alpha/rank_alpha.json, with the CPU seconds of every run: 86 minutes of one core.
"""

import argparse
import multiprocessing
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import torch
from torch import nn

from lorabook import LoRAConfig, apply_lora
from lorabook.data.batches import collate
from lorabook.data.examples import Example
from lorabook.kernels import faster
from lorabook.lora import count_parameters, matched
from lorabook.lora_config import ALL_LINEAR
from lorabook.memory.counter import StorageCounter
from lorabook.models import load_model
from lorabook.step.config import TrainConfig
from lorabook.step.gradients import gradient_step
from lorabook.step.loss import AnswerLoss
from lorabook.training.evaluate import answer_loss
from lorabook.training.history import History
from lorabook.training.loop import finetune
from lorabook.workbook.many_tasks.bottleneck import BottleneckConfig, apply_bottleneck
from lorabook.workbook.rank_and_alpha.forgetting import source_rows
from lorabook.workbook.rank_and_alpha.sweep import EMBEDDINGS, EVERYTHING, RANKS, SCALINGS, Setting
from scripts.assets import records
from scripts.assets.pocket_runs import BATCH, HELD_OUT, MAX_LENGTH, ROWS, kept, live_rows, real_rows, search

RESULT = Path("lorabook/assets/results/rank_and_alpha/rank_alpha.json")
RUNS = Path("build/sweep_rank_alpha")
LONG_ROWS, LONG_EVERY, LIVE_STEPS = 600, 15, 24
SEEDS = (0, 1, 2)
RATE = {"lora": 2.5e-3, "full": 5e-4, "lora+embeddings": 5e-4, "bottleneck": 2.5e-3}  # where the grid starts
BESIDE = 8.0  # LoRA's scaling beside embeddings trained in full: one rate serves both
BUDGET_RANK = 4  # on all linear layers: what the other target sets may cost
TARGETS = (
    ("attn.c_attn",),
    ("attn.c_proj",),
    ("mlp.c_fc",),
    ("mlp.c_proj",),
    ("attn.c_attn", "attn.c_proj"),
    ("mlp.c_fc", "mlp.c_proj"),
    ("wte",),
    (ALL_LINEAR, "wte"),
)
ARTICLE = ("c_attn", "c_proj", "c_fc", "wte", "wpe")
WIDTHS = (1, 4, 16, 64)


def file_of(s: Setting) -> Path:
    """Where a run's record is kept."""
    parts = (s.rows, s.method, "+".join(s.targets), s.r, s.scaling, s.lr, s.seed)
    return RUNS / ("_".join(f"{p:g}" if isinstance(p, float) else str(p) for p in parts) + ".json")


@cache
def rows_of(name: str, data: str) -> tuple[list[Example], list[Example]]:
    tokenizer = load_model("pocket").tokenizer
    if name == "live":
        return live_rows(tokenizer)
    return real_rows(data, tokenizer, LONG_ROWS if name == "long" else ROWS)


def prepared(s: Setting) -> nn.Module:
    """The pocket model with what `s` trains, and nothing else, requiring a gradient."""
    model = load_model("pocket", device="cpu").model
    if s.method == "bottleneck":
        apply_bottleneck(model, BottleneckConfig(m=s.r or 0, seed=s.seed))
    elif s.r is not None:
        apply_lora(model, LoRAConfig(s.r, alpha=(s.scaling or 0) * s.r, targets=s.targets, seed=s.seed))
    elif s.targets == EVERYTHING:
        model.requires_grad_(True)
    else:
        model.requires_grad_(False)
        for name in matched(model, s.targets):
            model.get_submodule(name).get_parameter("weight").requires_grad_(True)
    if s.method == "lora+embeddings":
        for name in matched(model, EMBEDDINGS):
            model.get_submodule(name).get_parameter("weight").requires_grad_(True)
    return model


def run(s: Setting, data: str) -> dict:
    """The facts of one run, kept in a file of its own."""
    train, held = rows_of(s.rows, data)
    key = asdict(s) | {"batch": BATCH, "questions": len(train), "held": len(held)}
    return kept(file_of(s), key, lambda: measured(s, train, held))


def measured(s: Setting, train: list[Example], held: list[Example]) -> dict:
    model, tokenizer = prepared(s), load_model("pocket").tokenizer
    trainable, _ = count_parameters(model)
    peak = step_peak(model, train)
    began = time.process_time()
    source, curve = source_rows(tokenizer), []

    def along(history: History) -> None:
        losses = [answer_loss(model, part).loss for part in (held, source)]
        curve.append([len(history.steps), *(round(loss, 4) for loss in losses)])

    config = TrainConfig(
        lr=s.lr,
        steps=LIVE_STEPS if s.rows == "live" else None,
        batch_tokens=BATCH,
        log_every=LONG_EVERY if s.rows == "long" else 0,
        seed=s.seed,
    )
    history = finetune(model, train, held, config, on_log=along)
    (_, base), (steps, tuned) = history.held_out[0], history.held_out[-1]
    facts = {"trainable": trainable, "base": round(base, 4), "loss": round(tuned, 4), "steps": steps}
    facts |= {"tokens": history.tokens, "source": round(answer_loss(model, source).loss, 4), "step_peak_bytes": peak}
    facts |= {"curve": curve} if curve else {}
    facts["cpu_seconds"] = round(time.process_time() - began, 1)
    print(f"{file_of(s).stem}: {base:.4f} → {tuned:.4f}, source {facts['source']:.4f}", flush=True)
    return facts


def step_peak(model: nn.Module, train: list[Example]) -> int:
    """Bytes that forward and backward pass of the eight longest rows hold at most, the model's weights not counted."""
    longest = sorted(train, key=lambda e: len(e.input_ids))[-8:]
    with faster(model), StorageCounter() as counter:
        gradient_step(AnswerLoss(model), collate(longest), 1.0, torch.Tensor.backward)
    model.zero_grad()
    return counter.peak


def tuned(s: Setting, ks: Iterable[int], data: str, seeds: tuple[int, ...] = SEEDS) -> list[tuple[Setting, dict]]:
    """All runs of `s` with its rate searched from those of `ks` on, and of the best rate with the other seeds."""
    settings: dict[int, Setting] = {}

    def loss(k: int) -> float:
        settings[k] = replace(s, lr=float(f"{RATE[s.method] * 2.0**k:.4g}"))
        return run(settings[k], data)["loss"]

    losses = search(loss, ks)
    best = settings[min(losses, key=lambda k: losses[k])]
    everything = [*settings.values(), *(replace(best, seed=seed) for seed in seeds[1:])]
    return [(each, run(each, data)) for each in everything]


def budget_rank(targets: tuple[str, ...]) -> int:
    """The rank at which `targets` cost about what BUDGET_RANK costs on all linear layers."""
    unit = {}
    for name, chosen in (("all", (ALL_LINEAR,)), ("these", targets)):
        model = load_model("pocket", device="cpu").model
        unit[name] = apply_lora(model, LoRAConfig(1, targets=chosen)).trainable
    return round(BUDGET_RANK * unit["all"] / unit["these"])


def groups() -> list[tuple[Setting, tuple[int, ...]]]:
    """A setting for every search, and the k to start it from."""
    lora = Setting("real", "lora", (ALL_LINEAR,), 16, 1.0, 0.0)
    full = Setting("real", "full", EVERYTHING, None, None, 0.0)
    found = [(lora, (-1, 0, 1, 2)), (full, (0, 1, -1))]
    found += [
        (replace(lora, r=r, scaling=scaling(r)), (-1, 0, 1, 2))
        for scaling in SCALINGS.values()
        for r in RANKS
        if r != 16
    ]
    found += [(replace(full, targets=targets), (0, 1, -1)) for targets in ((ALL_LINEAR,), EMBEDDINGS)]
    found += [(replace(lora, r=budget_rank(targets), targets=targets), (0, 1, -1)) for targets in TARGETS]
    found += [(replace(lora, r=BUDGET_RANK), (0, 1, -1)), (replace(lora, targets=ARTICLE), (0, 1, -1))]
    found += [(replace(lora, method="lora+embeddings", scaling=BESIDE), (0, 1, -1))]
    found += [(replace(lora, method="bottleneck", targets=(), r=m, scaling=None), (0, 1, -1)) for m in WIDTHS]
    return list(dict(found).items())


def best_of(runs: list[tuple[Setting, dict]], like: Setting) -> Setting:
    """The setting of the first seed with the least loss among those that differ from `like` in their rate alone."""
    same = [(s, facts) for s, facts in runs if replace(s, lr=like.lr) == like]
    return min(same, key=lambda item: item[1]["loss"])[0]


def long_settings(runs: list[tuple[Setting, dict]]) -> list[Setting]:
    """Full fine-tuning, LoRA and a bottleneck, at the best rate of the short runs and at half of it."""
    lora = Setting("real", "lora", (ALL_LINEAR,), 16, 1.0, 0.0)
    full = Setting("real", "full", EVERYTHING, None, None, 0.0)
    likes = [full, replace(full, targets=(ALL_LINEAR,)), *(replace(lora, r=r) for r in (1, 16, 64))]
    likes += [
        replace(lora, method="lora+embeddings", scaling=BESIDE),
        replace(lora, method="bottleneck", targets=(), scaling=None),
    ]
    bests = [best_of(runs, like) for like in likes]
    return [replace(s, rows="long", lr=float(f"{s.lr * part:.4g}")) for s in bests for part in (1, 0.5)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="real rows, as lorabook.data.stackoverflow.load reads them")
    parser.add_argument("--processes", type=int, default=2, help="runs at once, each on one thread")
    args = parser.parse_args()
    train, held = rows_of("real", args.data)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.processes, spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        searches = [pool.submit(tuned, setting, ks, args.data) for setting, ks in groups()]
        runs = [item for each in searches for item in each.result()]
        more = long_settings(runs)
        best = best_of(runs, Setting("real", "lora", (ALL_LINEAR,), 16, 1.0, 0.0))
        more += [replace(best, rows="live", r=r, seed=seed) for r in (8, 64) for seed in SEEDS]
        runs += zip(more, [future.result() for future in [pool.submit(run, s, args.data) for s in more]])
    record = {
        "model": "pocket",
        "max_length": MAX_LENGTH,
        "batch_tokens": BATCH,
        "questions": {"real": len(train), "long": LONG_ROWS},
        "held_out": HELD_OUT,
        "held_out_tokens": sum(e.label_tokens for e in held),
        "source": round(answer_loss(load_model("pocket").model, source_rows(load_model("pocket").tokenizer)).loss, 4),
        "seeds": SEEDS,
        "runs": [asdict(s) | facts for s, facts in dict(runs).items()],
    }
    seconds = sum(r["cpu_seconds"] for r in record["runs"])
    size = records.write(RESULT, "scripts/assets/sweep_rank_alpha.py", record)
    print(f"{RESULT}: {len(record['runs'])} runs, {size / 1000:.0f} kB, {seconds / 60:.0f} minutes of CPU")


if __name__ == "__main__":
    main()
