"""The table of faults put in on purpose: fault → tries → outcome.

    python -m tests.faults                             every family, under an hour on two cores
    python -m tests.faults --family kill --family drive
    python -m tests.faults --sample 2                  about two tries of each kind

A family is a module here with `run(sample, seed, folder) -> list[Row]`: `sample` bounds the tries of each kind (None:
all of them), `seed` fixes what is drawn, `folder` is empty and may be filled. Exits with 1 if a row did not pass.
Writes benchmarks/results/faults.json, unless families or a sample were chosen.
"""

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path

import torch

from scripts.assets import records
from tests.faults import ROOT
from tests.faults.rows import Row

FAMILIES = ("kill", "disk", "drive", "numbers", "memory", "files", "data", "network", "hands")  # in the table's order
HEAD = ("fault", "tries", "outcome")
RESULT = ROOT / "benchmarks" / "results" / "faults.json"


def table(rows: list[Row]) -> str:
    """One line a fault; those that did not pass are marked."""
    wide = max(len(row.fault) for row in rows)
    shown = [(r.fault, str(r.tries), r.outcome if r.passed else f"FAILED: {r.outcome}") for r in rows]
    return "\n".join(f"{fault:{wide}}  {tries:>5}  {outcome}" for fault, tries, outcome in [HEAD, *shown])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", action="append", choices=FAMILIES, help="may be given more than once")
    parser.add_argument("--sample", type=int, help="about so many tries of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help=f"JSON file; {RESULT.relative_to(ROOT)} for a run of everything")
    args = parser.parse_args()
    torch.set_num_threads(1)  # toys: with more, threads would only wait for each other
    families, results = args.family or FAMILIES, []
    for name in families:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"faults-{name}-") as folder:
            try:
                rows = importlib.import_module(f"tests.faults.{name}").run(args.sample, args.seed, Path(folder))
            except Exception as error:  # what a fault broke must not hide the other families
                rows = [Row(name, 1, f"{type(error).__name__}: {error}", False)]
        results.append((name, round(time.monotonic() - began, 1), rows))
        failed = sum(not row.passed for row in rows)
        print(f"{name}: {len(rows)} kinds of fault, {failed} failed, {results[-1][1]} s", file=sys.stderr, flush=True)
    rows = [row for _, _, rows in results for row in rows]
    print(table(rows))
    output = args.output or (RESULT if not args.family and args.sample is None else None)
    if output:
        facts = {n: {"seconds": s, "rows": [vars(row) for row in rows]} for n, s, rows in results}
        records.write(output, "tests/faults", {"seed": args.seed, "sample": args.sample, "families": facts})
    return int(not all(row.passed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
