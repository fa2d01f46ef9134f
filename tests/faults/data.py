"""Hostile data: a pair, a counted reason or an error of ours; nothing runs, no text becomes a control token.

The corpus is in `data_cases.py`; beside it, files are cut and their bits turned at random places.
"""

import gzip
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from lorabook.data.examples import Pair, encode, prompt, tokenize
from lorabook.data.stackoverflow import load
from lorabook.errors import DataError
from lorabook.models import load_model
from tests.faults import data_cases
from tests.faults.data_cases import GOOD, FileCase, RowCase
from tests.faults.rows import Row

FLIPS = 300
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def run(sample: int | None, seed: int, folder: Path) -> list[Row]:
    """`sample` bounds the rows and files of each kind, and turned files."""
    tokenizer = load_model("pocket", device="cpu").tokenizer
    draw = random.Random(seed)
    judged: list[tuple[list[Any], Callable[[Any], str | None]]] = [
        (list(data_cases.rows()), lambda case: _row(case, folder, tokenizer)),
        (list(data_cases.files()), lambda case: _file(case, folder)),
    ]
    rows = []
    for cases, judge in judged:
        kinds: dict[str, list[RowCase | FileCase]] = {}
        for case in cases:
            kinds.setdefault(case.kind, []).append(case)
        for kind, found in kinds.items():
            chosen = found if sample is None else draw.sample(found, min(sample, len(found)))
            wrong = [problem for case in chosen if (problem := judge(case))]
            outcome = "; ".join(wrong) or "read, counted by reason, or refused in one message"
            rows.append(Row(kind, len(chosen), outcome, not wrong))
    return [*rows, _turned(sample or FLIPS, draw, folder), _tokens(tokenizer)]


def _row(case: RowCase, folder: Path, tokenizer: Any) -> str | None:
    """What is wrong with how the row was taken, after a sound one."""
    line = case.row if isinstance(case.row, str) else json.dumps(case.row)
    path = folder / "rows.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + line + "\n", encoding="utf-8")
    try:
        loaded = load(path)
    except Exception as error:
        return f"{line[:60]}: {type(error).__name__}: {str(error)[:100]}"
    expected = {} if case.reason is None else {case.reason: 1}
    if loaded.report.dropped != expected or loaded.report.read != 2:
        return f"{line[:60]}: dropped {loaded.report.dropped}, not {expected}"
    for pair in loaded.pairs:
        texts = (pair.title, pair.question, pair.answer, *pair.tags)
        if any(CONTROL.search(text) for text in texts):
            return f"{line[:60]}: a control character is left"
        if any(re.search("<(script|svg|iframe|img)", text) for text in texts[1:3]):
            return f"{line[:60]}: markup is left"
        ids = encode(pair, tokenizer, 512).input_ids
        if set(ids[:-1]) & set(tokenizer.all_special_ids):
            return f"{line[:60]}: text became a control token"
    return None


def _file(case: FileCase, folder: Path) -> str | None:
    path = folder / case.name
    path.unlink(missing_ok=True)
    case.write(path)
    try:
        report = load(path).report
    except DataError as error:
        return None if case.words and re.search(case.words, str(error)) else f"{case.kind}: {str(error)[:150]}"
    except Exception as error:
        return f"{case.kind}: {type(error).__name__}: {str(error)[:150]}"
    dropped = sum(report.dropped.values())
    right = case.words is None and (report.kept, dropped) == (case.kept, case.dropped)
    return None if right else f"{case.kind}, {case.name}: kept {report.kept}, dropped {report.dropped}"


def _turned(tries: int, draw: random.Random, folder: Path) -> Row:
    """Files of four kinds with bits turned or the end gone: read or refused, and what is read adds up."""
    rows = [GOOD | {"question_id": i, "answer_id": i} for i in range(30)]
    table = pd.DataFrame(rows)
    table.to_parquet(folder / "sound.parquet")
    table.to_csv(folder / "sound.csv", index=False)
    lines = "".join(json.dumps(r) + "\n" for r in rows).encode()
    (folder / "sound.jsonl").write_bytes(lines)
    (folder / "sound.jsonl.gz").write_bytes(gzip.compress(lines))
    wrong, refused = [], 0
    for n in range(tries):
        name = ("sound.parquet", "sound.csv", "sound.jsonl", "sound.jsonl.gz")[n % 4]
        content = bytearray((folder / name).read_bytes())
        if draw.random() < 0.3:
            del content[draw.randrange(len(content)) :]
        for _ in range(draw.choice((1, 3, 10)) if content else 0):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path = folder / name.replace("sound", "turned")
        path.write_bytes(content)
        try:
            report = load(path).report
            assert report.read == report.kept + sum(report.dropped.values())
        except DataError:
            refused += 1
        except Exception as error:
            wrong.append(f"{name}: {type(error).__name__}: {str(error)[:100]}")
    outcome = "; ".join(wrong) or f"{tries - refused} read, every row accounted for, {refused} refused"
    return Row("bits turned, ends gone, at random", tries, outcome, not wrong)


def _tokens(tokenizer: Any) -> Row:
    """Every control token of pocket's tokenizer, and those of other models, as text in each part of a post."""
    names = sorted({*tokenizer.all_special_tokens, *data_cases.CONTROL_TOKENS})
    wrong = []
    for name in names:
        pair = Pair(1, name, f"what is {name}{name}?", f"{name} x {name}")
        ids = encode(pair, tokenizer, 512)
        text = tokenizer.decode(ids.input_ids[:-1])
        control = set(ids.input_ids[:-1]) & set(tokenizer.all_special_ids)
        if control or text != prompt(pair) + pair.answer or ids.input_ids[-1] != tokenizer.eos_token_id:
            wrong.append(f"{name}: {control or text}")
        if tokenizer.decode(tokenize(name, tokenizer)) != name:
            wrong.append(f"{name}: not the same text again")
    return Row("control tokens' names in a post", 3 * len(names), "; ".join(wrong) or "text, and text again", not wrong)
