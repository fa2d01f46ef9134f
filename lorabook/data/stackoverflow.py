"""StackOverflow's Python questions, each with its best answer as clean text.

Where rows come from is in sources.py, how HTML becomes text in html.py. Nothing from a post is executed.
"""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from lorabook.data.examples import Pair
from lorabook.data.html import HTML_LIMIT, clean, html_to_text
from lorabook.data.sources import DUPLICATE, REQUIRED, Record, records, whole
from lorabook.errors import DataError, SettingError, shown

NOT_BEST = "another answer to the same question is better"


@dataclass(frozen=True)
class Row:
    """A question with one of its answers, as the source has it. Scores, dates and the answer's id may be unknown."""

    title: str
    question_id: int
    question_body: str
    question_score: int | None
    question_date: str | None
    answer_id: int | None
    answer_body: str
    answer_score: int | None
    answer_date: str | None
    tags: tuple[str, ...]


@dataclass
class RowCounts:
    """How many rows were read, how many became a pair, and why the others did not: read = kept + sum of dropped."""

    read: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def __str__(self) -> str:
        reasons = [f"rows dropped because {reason}: {count}" for reason, count in self.dropped.items()]
        return "\n".join([f"rows read: {self.read}", f"pairs kept: {self.kept}", *reasons])


@dataclass(frozen=True)
class Loaded:
    """What `load` returns."""

    pairs: list[Pair]
    report: RowCounts


class RowError(DataError):
    """A row that no pair can be made of; `reason` is the heading under which `load` counts it."""

    def __init__(self, reason: str, seen: str):
        super().__init__(f"This row cannot be used, since {reason} ({seen}).", "Leave it out, as load() does.")
        self.reason = reason


def load(source: str | Path = "sample", rows: int | None = None, revision: str | None = None, seed: int = 0) -> Loaded:
    """Read rows and keep the best answer to each question, as text.

    source: "sample" (ships with lorabook); a path, which is a .jsonl, .jsonl.gz, .csv or .parquet file with the
    columns of `Row`, or a folder with Kaggle's Questions.csv and Answers.csv; or a hub id such as HUB_ID. A path that
    exists wins over a hub id, and a hub id reads owner/name without an ending; "./sample" is a path.

    rows: read only the first so many rows of the source, malformed ones included; of Kaggle's folder, the first so
    many questions with all their answers. None means everything, but DEFAULT_ROWS of the hub and of Kaggle. A hub set
    is streamed and never downloaded whole; `revision` is its branch, tag or commit.

    The best answer has the highest score; between equal or unknown scores the first one read wins. A row without
    title is used, with title ''; one without question, answer or question id, one whose bodies hold no text, one with a
    body or title too long, and a duplicate are dropped and counted in the report. `seed` shuffles the pairs.

    Raises DataError if the source does not exist, lacks a column or yields no pair; NetworkError if the hub cannot be
    reached; SettingError if `rows` is below 1.
    """
    if rows is not None and rows < 1:
        raise SettingError(f"rows is {rows}.", "Give 1 or more, or None for all.")
    report, seen, best = RowCounts(), set(), {}  # best: question id -> (score, pair)
    for record in records(str(source), rows, revision):
        report.read += 1
        try:
            row = _row(record)
            key = (row.question_id, row.answer_body if row.answer_id is None else row.answer_id)
            if key in seen:
                raise RowError(DUPLICATE, f"question {row.question_id}")
            score = float("-inf") if row.answer_score is None else row.answer_score
            first = row.question_id not in best
            if first or score > best[row.question_id][0]:
                best[row.question_id] = score, to_text(row)
            seen.add(key)
            if not first:
                report.drop(NOT_BEST)
        except RowError as error:
            report.drop(error.reason)
    pairs = [pair for _, pair in best.values()]
    report.kept = len(pairs)
    if not pairs:
        raise DataError(
            f"{source} has no usable row: {'; '.join(str(report).splitlines())}.",
            f"Each row needs {', '.join(REQUIRED)}, the bodies as HTML.",
        )
    random.Random(seed).shuffle(pairs)
    return Loaded(pairs, report)


def to_text(row: Row) -> Pair:
    """Turn the HTML of a row into text, as `html_to_text` does. Raises RowError if a body is too long or empty."""
    bodies = {"question_body": row.question_body, "answer_body": row.answer_body}
    for name, html in bodies.items():
        try:
            bodies[name] = html_to_text(html)
        except DataError as error:
            raise RowError(f"{name} is too long", error.problem) from error
        if not bodies[name]:
            raise RowError(f"{name} holds no text", repr(html[:40]))
    title = " ".join(clean(row.title).split())
    return Pair(row.question_id, title, bodies["question_body"], bodies["answer_body"], row.tags)


def _row(record: Record) -> Row:
    """Check a record and give its values their types."""
    if isinstance(record, str):
        raise RowError(record, "no columns")
    question_id = whole(record.get("question_id"))
    if question_id is None:
        raise RowError("question_id is not a whole number", shown(record.get("question_id")))
    for name in ("title", "question_body", "answer_body"):
        value = record.get(name)
        if value is None and name != "title":
            raise RowError(f"{name} is missing", f"question {question_id}")
        if not isinstance(value, str | None):
            raise RowError(f"{name} is not text", shown(value))
    if len(record.get("title") or "") > HTML_LIMIT:
        raise RowError("title is too long", f"{len(record['title']):,} characters")
    tags = record.get("tags") or ()
    if isinstance(tags, str):  # "<python><list>", "python, list" or "['python', 'list']"
        tags = re.findall(r"""[^\s<>,|'"\[\]]+""", tags)
    return Row(
        title=record.get("title") or "",
        question_id=question_id,
        question_body=record["question_body"],
        question_score=whole(record.get("question_score")),
        question_date=_text(record.get("question_date")),
        answer_id=whole(record.get("answer_id")),
        answer_body=record["answer_body"],
        answer_score=whole(record.get("answer_score")),
        answer_date=_text(record.get("answer_date")),
        tags=tuple(clean(tag) for tag in tags if isinstance(tag, str)) if isinstance(tags, Iterable) else (),
    )


def _text(value: object) -> str | None:
    return (clean(str(value)) or None) if isinstance(value, str | int | float | date) else None
