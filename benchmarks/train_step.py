"""What a LoRA training step costs, with PEFT's beside it: time, memory, growth, and a whole run beside the Trainer.

    python -m benchmarks.train_step                            steps, memory and growth
    python -m benchmarks.train_step --only run --data FILE     a whole run on 2,000 rows of a file or of the hub

All of it on the CPU, with blocks of StarCoderBase-1B's width, random weights and rank 16 on the four linear layers; the
second half of each row is the answer. In steps and growth there are 2 blocks and a twelfth of the vocabulary, so that
the head has the share that it has beside 24 blocks; in memory 6 blocks and the whole vocabulary.

steps: the floor is the forward and backward pass of the frozen model with a gradient for its input alone. The others
    add LoRA, clipping and AdamW. PEFT runs with the loss of transformers, which the Trainer uses, and a second time
    with lorabook's, which leaves the layers as the difference. Contenders share the frozen weights and take turns;
    shown is the median ratio to the floor of the same turn. glibc keeps freed memory, for all of them alike.
memory: bytes above the frozen weights at the peak, each contender in a process of its own, by live storages and by the
    process's pages. There glibc gives every freed MiB back at once, for the holes in its heap are not a contender's.
growth: lorabook's step as tokens, blocks and r double.
run: the pocket model, or another one (--model), one pass over rows that fit 512 tokens whole, the wall time of the
    training call and the loss on rows held out. The padded rival is what tutorials do; the tuned one groups rows by
    length. Learning rate, schedule and LoRA are the same; a step has 8 rows, or tokens enough for no more steps than
    that makes.

Prints its tables and writes one JSON file, in which parts not run this time stay.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.runs import rivals, steps
from scripts.assets import records
from scripts.assets.heap import keep_freed_memory

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "train_step.json"
PARTS = ("steps", "memory", "growth", "run")
SIZES = ((1, 256), (4, 512))  # rows, tokens in a row
DTYPES = ("bfloat16", "float32")
BLOCKS, VOCABULARY = 2, 4096
MEMORY_BLOCKS, WHOLE_VOCABULARY = 6, 49152
HELD_OUT = 200
GROWTH = {
    "tokens": [{"tokens": t} for t in (128, 256, 512, 1024)],
    "blocks": [{"blocks": b} for b in (1, 2, 4, 8)],
    "r": [{"r": r} for r in (8, 16, 32, 64, 128, 256)],
}


def step_times(turns: int) -> list[dict[str, Any]]:
    print(f"{'':24}{'dropout':>8} {'floor, ms':>10}" + "".join(f"{name:>20}" for name in list(steps.CONTENDERS)[1:]))
    rows = []
    for dtype in DTYPES:
        base = steps.frozen_blocks(BLOCKS, VOCABULARY, getattr(torch, dtype))
        for count, sequence in SIZES:
            batch = steps.batch_of(count, sequence, VOCABULARY)
            for dropout in (0.0, 0.1):
                made = {
                    name: make(base, batch) if name == "floor" else make(base, batch, dropout=dropout)
                    for name, make in steps.CONTENDERS.items()
                }
                times = steps.take_turns(made, turns if count * sequence < 1000 else max(3, turns // 3))
                floor = statistics.median(times["floor"])
                row = {"dtype": dtype, "rows": count, "sequence": sequence, "dropout": dropout}
                row |= {"floor_ms": round(1e3 * floor, 1), "ratio": steps.ratios(times, "floor")}
                row["turns"] = len(times["floor"])
                rows.append(row)
                cells = "".join(f"{ratio:>20.3f}" for ratio in list(row["ratio"].values())[1:])
                print(f"{dtype:9} {count} × {sequence:<11} {dropout:>7} {row['floor_ms']:>10} {cells}", flush=True)
    return rows


def memories() -> list[dict[str, Any]]:
    rows = []
    count, sequence = SIZES[1]
    print(f"\nMiB above the frozen weights, {count} × {sequence}:   live storages    the process")
    for dtype in DTYPES:
        for again in (False, True):
            row: dict[str, Any] = {"dtype": dtype, "checkpointing": again}
            for name in ("lorabook", "PEFT"):
                job = (name, dtype, MEMORY_BLOCKS, WHOLE_VOCABULARY, count, sequence, again)
                order = [sys.executable, "-m", "benchmarks.train_step", "--job", json.dumps(job)]
                heap = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
                done = subprocess.run(order, capture_output=True, text=True, env=heap, cwd=ROOT)
                if done.returncode:
                    raise RuntimeError(done.stderr[-2000:])
                row[name] = json.loads(done.stdout.splitlines()[-1])
                cells = "".join(f"{row[name][how] / 2**20:>16,.0f}" for how in ("storages", "process"))
                print(f"{dtype:9} {'recomputed' if again else 'kept':11} {name:9} {cells}", flush=True)
            row["ratio"] = {h: round(row["lorabook"][h] / row["PEFT"][h], 3) for h in ("storages", "process")}
            print(f"{'':21} lorabook / PEFT {row['ratio']['storages']:>10} {row['ratio']['process']:>15}", flush=True)
            rows.append(row)
    return rows


def growth(turns: int) -> dict[str, list[dict[str, Any]]]:
    """Median seconds of lorabook's step, bfloat16, dropout 0, and each as a multiple of the one before it."""
    found: dict[str, list[dict[str, Any]]] = {}
    for what, cases in GROWTH.items():
        made, bases = {}, {}
        for case in cases:
            blocks, tokens, r = case.get("blocks", BLOCKS), case.get("tokens", 256), case.get("r", 16)
            if blocks not in bases:
                bases[blocks] = steps.frozen_blocks(blocks, VOCABULARY, torch.bfloat16)
            batch = steps.batch_of(1, tokens, VOCABULARY)
            made[str(case[what])] = steps.lorabook(bases[blocks], batch, r=r)
        times = {n: statistics.median(each) for n, each in steps.take_turns(made, turns).items()}
        found[what] = [{what: int(n), "ms": round(1e3 * seconds, 1)} for n, seconds in times.items()]
        print(f"\n{what:8}" + "".join(f"{n:>10}" for n in times))
        print(f"{'ms':8}" + "".join(f"{1e3 * seconds:>10.0f}" for seconds in times.values()), flush=True)
    return found


def whole_runs(model: str, data: str, rows: int, turns: int) -> list[dict[str, Any]]:
    from lorabook.data import stackoverflow
    from lorabook.data.examples import encode_all
    from lorabook.models import load_model

    pairs = stackoverflow.load(data, rows=4 * (rows + HELD_OUT)).pairs
    whole = encode_all(pairs, load_model(model, device="cpu").tokenizer, 2**20)
    whole = [e for e in whole if len(e.input_ids) <= rivals.LONGEST][: rows + HELD_OUT]
    train, held = whole[:-HELD_OUT], whole[-HELD_OUT:]
    if not train:
        raise SystemExit(f"{data} has {len(whole)} short rows; more than {HELD_OUT}, which are held out, are needed.")
    mean = statistics.mean(len(e.input_ids) for e in train)
    print(f"\n{len(train)} rows of {mean:.0f} tokens on average, {len(held)} held out")
    found: list[dict[str, Any]] = []
    for turn in range(turns):
        names = list(rivals.CONTENDERS)
        for name in names[turn % 3 :] + names[: turn % 3]:
            facts = {"model": model, "turn": turn, "rows": len(train)}
            found.append(facts | asdict(rivals.CONTENDERS[name](model, train, held)))
            o = found[-1]
            print(
                f"{name:22} {o['seconds']:>7.0f} s  {o['steps']:>4} steps  {o['labels']:>7,} answer tokens  "
                f"held-out loss {o['loss']:.3f}",
                flush=True,
            )
    wall = {n: statistics.median(o["seconds"] for o in found if o["contender"] == n) for n in rivals.CONTENDERS}
    for name in list(wall)[1:]:
        print(f"lorabook takes {wall['lorabook'] / wall[name]:.2f} of the time of {name}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, help="parts to run; all but `run` if left out")
    parser.add_argument("--turns", type=int, default=15, help="of steps and growth, a third of it for the large batch")
    parser.add_argument("--data", help="as for `lorabook finetune`, for the whole run")
    parser.add_argument(
        "--model",
        default="pocket",
        choices=sorted(rivals.KNOWN),
        help="of the whole run; what is stored of others stays",
    )
    parser.add_argument("--rows", type=int, default=2000, help="rows trained on in the whole run")
    parser.add_argument("--runs", type=int, default=1, help="whole runs of each contender")
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--job", help=argparse.SUPPRESS)  # one contender's memory, in a process of its own
    args = parser.parse_args()
    if args.job:
        print(json.dumps(steps.memory(*json.loads(args.job))))
        return
    parts = args.only or PARTS[:-1]
    if "run" in parts and not args.data:
        parser.error("--only run needs --data: a file of questions and answers, or a data set's hub id")
    keep_freed_memory()
    old = json.loads(args.output.read_text()) if args.output.exists() else {}
    facts = {part: old[part] for part in PARTS if part in old}
    facts["threads"] = torch.get_num_threads()
    facts["load"] = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    if "steps" in parts:
        facts["steps"] = step_times(args.turns)
    if "memory" in parts:
        facts["memory"] = memories()
    if "growth" in parts:
        facts["growth"] = growth(args.turns)
    if "run" in parts:
        others = [o for o in facts.get("run", []) if o["model"] != args.model]
        facts["run"] = others + whole_runs(args.model, args.data, args.rows, args.runs)
    records.write(args.output, "benchmarks/train_step.py", facts)


if __name__ == "__main__":
    main()
