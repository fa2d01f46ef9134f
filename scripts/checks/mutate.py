"""How many of 200 small faults, drawn by a seed, put into the library one at a time, the tests notice.

    python -m scripts.checks.mutate --named                  200 of some 2,300 mutants, six minutes on two quiet cores
    python -m scripts.checks.mutate                          and those that live meet every other quick test
    python -m scripts.checks.mutate --sample 20 --seed 3
    python -m scripts.checks.mutate --file step/loss.py      every mutant of one file

What a mutant is: mutation_operators.py. How it meets the tests: mutation_runner.py. The sample is stratified by file,
each file in proportion to its number of mutants; within a file those with the smallest hash of seed and change are
drawn, so that an edit elsewhere draws the same ones again. Mutants that no test can tell from the original are
listed with the reason in mutants_reviewed.json. They are not run, and count as survivors all the same.

Prints a table by file and the survivors. A run of the whole sample writes benchmarks/results/mutants.json, and exits
with 1 if fewer than nine in ten were killed.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from scripts.checks.mutation_operators import Mutant, mutants
from scripts.checks.mutation_runner import ROOT, Job, Verdict, judge, survey, tests_of, warm

RESULT = ROOT / "benchmarks" / "results" / "mutants.json"
REVIEWED = Path(__file__).parent / "mutants_reviewed.json"
SAMPLE, SEED, WANTED = 200, 0, 0.9
FILES = (
    "lora.py",
    "lora_config.py",
    "kernels.py",
    "merging.py",
    "atomic.py",
    "data/stackoverflow.py",
    "peft_format/adapter_config.py",
    "peft_format/adapter_file.py",
    "step/loss.py",
    "step/gradients.py",
    "step/optimizer.py",
    "subspace/fastfood.py",
    "subspace/training.py",
    "training/loop.py",
    "training/checkpoint.py",
)
# Tests of the project's files, of notebooks and of scripts: no mutant of the library is for them to find.
ELSEWHERE = ("benchmarks", "browser", "faults", "notebooks", "project")


def key(file: str, mutant: Mutant) -> tuple[str, str, str, str]:
    return file, mutant.where, mutant.old, mutant.new


def draw(found: dict[str, list[Mutant]], sample: int, seed: int) -> list[tuple[str, Mutant]]:
    """`sample` mutants, from each file a share in proportion to how many it has (largest remainders)."""
    total = sum(map(len, found.values()))
    exact = {file: min(sample, total) * len(of_file) / total for file, of_file in found.items()}
    shares = {file: int(share) for file, share in exact.items()}
    for file in sorted(exact, key=lambda file: shares[file] - exact[file])[: min(sample, total) - sum(shares.values())]:
        shares[file] += 1

    def place(file: str, mutant: Mutant) -> str:
        return hashlib.sha256(f"{seed} {key(file, mutant)}".encode()).hexdigest()

    return [
        (file, mutant)
        for file, of_file in found.items()
        for mutant in sorted(of_file, key=lambda m, file=file: place(file, m))[: shares[file]]
    ]


def reviewed() -> dict[tuple[str, str, str, str], str]:
    """Why a mutant lives, by its key."""
    entries = json.loads(REVIEWED.read_text(encoding="utf-8"))
    return {(e["file"], e["where"], e["old"], e["new"]): e["why"] for e in entries}


def commit() -> str:
    """The commit that is checked out, "+" where the files differ from it, "unknown" outside git."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    if head.returncode:
        return "unknown"
    clean = not subprocess.run([*git, "status", "--porcelain", "lorabook", "tests"], capture_output=True).stdout
    return head.stdout.strip() + ("" if clean else "+")


def table(found: dict[str, list[Mutant]], verdicts: list[tuple[str, Mutant, Verdict]]) -> str:
    sampled = Counter(file for file, _, _ in verdicts)
    killed = Counter(file for file, _, verdict in verdicts if verdict.by)
    rows = [(file, len(of_file), sampled[file], killed[file]) for file, of_file in found.items() if sampled[file]]
    rows.append(("all", sum(r[1] for r in rows), sum(r[2] for r in rows), sum(r[3] for r in rows)))
    lines = [f"{'file':30}{'mutants':>9}{'sampled':>9}{'killed':>9}{'survived':>10}"]
    return "\n".join([*lines, *(f"{f:30}{n:>9}{s:>9}{k:>9}{s - k:>10}" for f, n, s, k in rows)])


def entry(file: str, mutant: Mutant, verdict: Verdict, why: dict) -> dict[str, str | int]:
    place = {"file": file, "line": mutant.line, "where": mutant.where, "operator": mutant.operator}
    change = {"old": mutant.old, "new": mutant.new}
    if verdict.by:
        return place | change | {"killed by": verdict.by.removeprefix("tests/")}
    return place | change | {"survived because": why.get(key(file, mutant), "not reviewed")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--file", help="of lorabook/, such as step/loss.py")
    parser.add_argument("--named", action="store_true", help="only the tests of each file: quicker, kills fewer")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    began, at, seed = time.monotonic(), commit(), args.seed or SEED
    files = [args.file] if args.file else list(FILES)
    found = {file: mutants((ROOT / "lorabook" / file).read_text(encoding="utf-8")) for file in files}
    drawn = draw(found, args.sample or (10**6 if args.file else SAMPLE), seed)
    jobs, why = [Job((file, m), file, m.source, m.first, tests_of(file)) for file, m in drawn], reviewed()
    known_to_live = [job for job in jobs if key(*job.name) in why]  # not run: a survivor takes the longest
    jobs = [job for job in jobs if job not in known_to_live]
    warm()
    every = {str(path.relative_to(ROOT / "tests")) for path in (ROOT / "tests").rglob("test_*.py")}
    every = {name for name in every if name.split("/")[0] not in ELSEWHERE}
    known = survey({test for job in jobs for test in job.tests}, args.workers, () if args.named else every)
    print(f"{len(known.seconds)} tests pass on the sound library, {time.monotonic() - began:.0f} s", flush=True)
    verdicts: list[tuple[str, Mutant, Verdict]] = [(*job.name, Verdict(None, 0)) for job in known_to_live]
    for job, verdict in judge(jobs, known, args.workers):
        file, mutant = job.name
        verdicts.append((file, mutant, verdict))
        if not verdict.by:
            print(f"{file}:{mutant.line}  {mutant.operator}\n  - {mutant.old}\n  + {mutant.new}", flush=True)
    verdicts.sort(key=lambda v: (files.index(v[0]), v[1].line, v[1].new))
    killed = sum(bool(verdict.by) for _, _, verdict in verdicts)
    print(table(found, verdicts))
    print(f"{killed} of {len(verdicts)} killed ({killed / len(verdicts):.1%}), seed {seed}, commit {at}")
    if args.sample or args.file or args.seed is not None:
        return 0
    from scripts.assets import records  # not above: it imports lorabook, which forked tests must find in their copy

    about = {"seed": seed, "commit": at, "mutants": {file: len(of_file) for file, of_file in found.items()}}
    about |= {"tests": "those of each file" if args.named else "all", "sampled": len(verdicts), "killed": killed}
    about |= {"minutes": round((time.monotonic() - began) / 60, 1)}
    each = [entry(*verdict, why) for verdict in verdicts]
    records.write(RESULT, "scripts/checks/mutate.py", about | {"verdicts": each})
    return int(killed < WANTED * len(verdicts))


if __name__ == "__main__":
    sys.exit(main())
