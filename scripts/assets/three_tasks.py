"""What three adapters of the pocket model, one for each style of answer, do to each other's answers.

    python -m scripts.assets.three_tasks --data FILE

The tasks are those of `lorabook/workbook/tasks.py`: to the same prompts the title, the code or the prose. For each,
LoRA of rank R with alpha = R on all linear layers, in two sizes:

- "real": one pass over ROWS questions of FILE with all three answers, HELD_OUT others held out. The learning rate is
  searched on the grid RATE * 2^k with the first seed, by the held-out loss of the adapter's own task; the best rate is
  run again with the other seeds. A seed draws the first factors and the order of the rows.
- "live": LIVE_STEPS steps of LIVE_BATCH tokens on the bundled sample at those rates, which notebook 07 repeats.

After every run the held-out loss is measured on the answers of all three tasks, in nats per answer token. Runs are kept
in build/three_tasks and not repeated: after an interruption start it again. Writes
lorabook/assets/results/many_tasks/three_tasks.json, with the CPU seconds of every run.
"""

import argparse
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lorabook import LoRAConfig, apply_lora
from lorabook.data import stackoverflow
from lorabook.data.examples import Example, Pair
from lorabook.data.split import split
from lorabook.models import load_model
from lorabook.step.config import TrainConfig
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune
from lorabook.workbook.many_tasks.tasks import TASKS, encode_task, task_pairs
from scripts.assets import records
from scripts.assets.pocket_runs import BATCH, HELD_OUT, MAX_LENGTH, ROWS, kept, search

RESULT = Path("lorabook/assets/results/many_tasks/three_tasks.json")
RUNS = Path("build/three_tasks")
R, RATE, START, SEEDS = 8, 2.5e-3, (1, 2, 3), (0, 1, 2)
LIVE_STEPS, LIVE_BATCH, LIVE_HELD = 18, 1024, 24


@dataclass(frozen=True)
class Rows:
    """The examples of every task, and how a run goes through them: one pass, or `steps` steps."""

    name: str
    train: dict[str, list[Example]]
    held: dict[str, list[Example]]
    left_out: int
    batch_tokens: int = BATCH
    steps: int | None = None


@dataclass(frozen=True)
class Setting:
    rows: str
    task: str
    lr: float
    seed: int = 0


def rows_of(name: str, pairs: list[Pair], count: int | None, held_out: int, **more) -> Rows:
    """The first `count` questions that have all three answers, split alike for every task."""
    tokenizer = load_model("pocket").tokenizer
    tasks = task_pairs(pairs)
    sides = {task: split(chosen[:count], held_out) for task, chosen in tasks.items()}
    train, held = ({t: encode_task(s[side], tokenizer, MAX_LENGTH) for t, s in sides.items()} for side in (0, 1))
    return Rows(name, train, held, len(pairs) - len(tasks["title"]), **more)


def losses(model, rows: Rows) -> dict[str, float]:
    return {task: round(answer_loss(model, rows.held[task]).loss, 4) for task in TASKS}


def run(s: Setting, rows: Rows) -> dict:
    """The facts of one run, kept in a file of its own."""
    sizes = {"train": len(rows.train[s.task]), "held": len(rows.held[s.task])}
    key = asdict(s) | sizes | {"batch": rows.batch_tokens, "steps": rows.steps, "r": R}
    return kept(RUNS / f"{s.rows}_{s.task}_{s.lr:g}_{s.seed}.json", key, lambda: measured(s, rows))


def measured(s: Setting, rows: Rows) -> dict:
    began = time.process_time()
    model = load_model("pocket", device="cpu").model
    apply_lora(model, LoRAConfig(R, alpha=R, seed=s.seed))
    config = TrainConfig(lr=s.lr, steps=rows.steps, batch_tokens=rows.batch_tokens, log_every=0, seed=s.seed)
    history = finetune(model, rows.train[s.task], rows.held[s.task], config)
    facts = {"steps": len(history.steps), "tokens": history.tokens, "losses": losses(model, rows)}
    facts["cpu_seconds"] = round(time.process_time() - began, 1)
    print(f"{s}: {facts}", flush=True)
    return facts


def searched(task: str, rows: Rows) -> list[Setting]:
    """The settings of the search for the rate, and then the best one with every seed."""

    def at(k: int) -> Setting:
        return Setting(rows.name, task, float(f"{RATE * 2.0**k:.4g}"))

    found = search(lambda k: run(at(k), rows)["losses"][task], START)
    best = at(min(found, key=lambda k: found[k]))
    return [*(at(k) for k in sorted(found)), *(replace(best, seed=seed) for seed in SEEDS)]


def facts_of(rows: Rows, settings: list[Setting]) -> dict:
    """What is stored of one size: its rows, the untouched model's losses, and every run."""
    return {
        "batch_tokens": rows.batch_tokens,
        "questions": len(rows.train["title"]),
        "held_out": len(rows.held["title"]),
        "left_out": rows.left_out,
        "answer_tokens": {task: sum(e.label_tokens for e in rows.train[task]) for task in TASKS},
        "held_out_tokens": {task: sum(e.label_tokens for e in rows.held[task]) for task in TASKS},
        "base": losses(load_model("pocket", device="cpu").model, rows),
        "runs": [{"task": s.task, "lr": s.lr, "seed": s.seed} | run(s, rows) for s in dict.fromkeys(settings)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="real rows, as lorabook.data.stackoverflow.load reads them")
    args = parser.parse_args()
    # Twice as many rows as questions wanted: some have no code, some answer the same question.
    pairs = stackoverflow.load(args.data, rows=2 * (ROWS + HELD_OUT)).pairs
    real = rows_of("real", pairs, ROWS + HELD_OUT, HELD_OUT)
    sample = stackoverflow.load("sample").pairs
    live = rows_of("live", sample, None, LIVE_HELD, batch_tokens=LIVE_BATCH, steps=LIVE_STEPS)
    settings = {task: searched(task, real) for task in TASKS}
    record = {"model": "pocket", "r": R, "alpha": R, "max_length": MAX_LENGTH, "seeds": SEEDS}
    record["real"] = facts_of(real, [s for task in TASKS for s in settings[task]])
    record["live"] = facts_of(live, [replace(s, rows="live") for task in TASKS for s in settings[task][-len(SEEDS) :]])
    seconds = sum(r["cpu_seconds"] for size in ("real", "live") for r in record[size]["runs"])
    size = records.write(RESULT, "scripts/assets/three_tasks.py", record)
    print(f"{RESULT}: {size / 1000:.0f} kB, {seconds / 60:.0f} minutes of CPU")


if __name__ == "__main__":
    main()
