"""Puts the results in benchmarks/results/*.json into the tables of README.md and benchmarks/README.md.

    python -m scripts.checks.tables            rewrite what stands between the marks
    python -m scripts.checks.tables --check    change nothing; exit with 1 where a table is not that of the results

A table stands between `<!-- table: NAME -->` and `<!-- end -->`, NAME being a function below.
"""

import json
import re
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "benchmarks" / "README.md")
PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
DTYPES = {"float32": "fp32", "bfloat16": "bf16"}


def result(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def times() -> str:
    """A training step over its floor."""
    rows = (
        (f"{DTYPES[r['dtype']]}, {r['rows']} × {r['sequence']}", r["dropout"], *(f"{x:.2f}" for x in list(ratios)[1:]))
        for r in result("train_step")["steps"]
        for ratios in [r["ratio"].values()]
    )
    head = ("a step, over the frozen model's own", "dropout", "lorabook", "PEFT", "PEFT, lorabook's loss")
    return markdown(head, rows)


def memory() -> str:
    """Bytes above the frozen weights at the peak of a step."""

    def mib(size: int) -> str:
        return f"{size / 2**20:,.0f} MiB"

    rows = (
        (
            DTYPES[r["dtype"]],
            "recomputed" if r["checkpointing"] else "kept",
            mib(r["lorabook"]["storages"]),
            mib(r["PEFT"]["storages"]),
            f"{r['ratio']['storages']:.2f}",
            f"{r['ratio']['process']:.2f}",
        )
        for r in result("train_step")["memory"]
    )
    return markdown(("weights", "activations", "lorabook", "PEFT", "ratio", "ratio of the processes"), rows)


def run() -> str:
    """A whole run on the same rows, of each model."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for o in result("train_step")["run"]:
        groups.setdefault((o["model"], o["contender"]), []).append(o)
    seconds = {key: statistics.median(o["seconds"] for o in each) for key, each in groups.items()}
    rows = (
        (
            model,
            name,
            f"{seconds[model, 'lorabook'] / seconds[model, name]:.2f}" if name != "lorabook" else "",
            f"{each[0]['rows']:,}",
            f"{each[0]['steps']:,}",
            f"{each[0]['labels']:,}",
            f"{statistics.median(o['loss'] for o in each):.3f}",
        )
        for (model, name), each in groups.items()
    )
    return markdown(("model", "", "lorabook's time over its", "rows", "steps", "answer tokens", "held-out loss"), rows)


def growth() -> str:
    """The time of a step as one size doubles, in multiples of the first."""
    rows = []
    for what, cases in result("train_step")["growth"].items():
        times = " · ".join(f"{c['ms'] / cases[0]['ms']:.2f}" for c in cases)
        rows.append((what, " · ".join(f"{c[what]:,}" for c in cases), times))
    return markdown(("what doubles", "its values", "time of a step, the first being 1"), rows)


def parts() -> str:
    """Where a step's time goes, in percent."""
    runs = [r for r in result("profile_step")["runs"] if r["device"] == "cpu"]
    names = list(dict.fromkeys(name for r in runs for name in r["milliseconds"]))
    rows = []
    for r in runs:
        spent = {name: sum(r["milliseconds"].get(name, {}).values()) for name in names}
        whole = sum(spent.values())
        what = f"dropout {r['dropout']}" + (", recomputed" if r["checkpointing"] else "")
        rows.append((what, *(f"{100 * spent[name] / whole:.0f}%" for name in names)))
    return markdown(("", *names), rows)


def share() -> str:
    """LoRA beside full fine-tuning of the same matrices."""
    rows = (
        (o["method"], f"{o['lr']:.0e}", f"{o['trainable']:,}", f"{o['base']:.3f} → {o['loss']:.3f}")
        for o in result("lora_vs_full")["runs"]
    )
    return markdown(("trained", "learning rate", "parameters", "held-out loss"), rows)


def answers() -> str:
    """Tokens a second of one contender over another's."""
    rows = []
    for name, case in result("answers")["cases"].items():
        (low, middle, high), (first, second) = case["ratio"], case["tokens_per_second"]
        rows.append((name, first, second, f"{middle:.2f} ({low:.2f}–{high:.2f})"))
    return markdown(("", "rate of", "over that of", "median (quartiles)"), rows)


def faults() -> str:
    """Every fault put in on purpose, and what came of it."""
    rows = (
        (family, row["fault"], row["tries"], row["outcome"] if row["passed"] else f"**failed**: {row['outcome']}")
        for family, of_family in result("faults")["families"].items()
        for row in of_family["rows"]
    )
    return markdown(("", "fault", "tries", "outcome"), rows)


def mutants() -> str:
    """The drawn mutants by file, and how many of them a test noticed."""
    found = result("mutants")
    killed = {file: ["killed by" in v for v in found["verdicts"] if v["file"] == file] for file in found["mutants"]}
    rows = [(file, found["mutants"][file], len(each), sum(each)) for file, each in killed.items()]
    rows.append(("all", *(sum(row[i] for row in rows) for i in (1, 2, 3))))
    return markdown(("file", "mutants", "drawn", "killed"), rows)


def survivors() -> str:
    """The drawn mutants that no test noticed, and why."""
    rows = (
        (
            f"{v['file']}, `{v['where']}`" if v["where"] else v["file"],
            f"`{v['old']}`",
            f"`{v['new']}`" if v["new"] else "",
            v["survived because"],
        )
        for v in result("mutants")["verdicts"]
        if "survived because" in v
    )
    return markdown(("where", "was", "became", "lives because"), rows)


TABLES = {f.__name__: f for f in (times, memory, run, growth, parts, share, answers, faults, mutants, survivors)}


def filled(page: str) -> str:
    """`page` with every table made anew."""
    return PLACE.sub(lambda place: place[1] + TABLES[place[2]]() + place[3], page)


def main() -> int:
    stale = [page for page in PAGES if filled(page.read_text(encoding="utf-8")) != page.read_text(encoding="utf-8")]
    for page in stale:
        if "--check" not in sys.argv:
            page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"{page.relative_to(ROOT)}: {'not that of the results' if '--check' in sys.argv else 'tables rewritten'}")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
