"""Questions with their best answers as clean text, from StackOverflow's rows or one's own.

Where rows come from is in sources.py, what one's own may look like in own_rows.py, how HTML is told from Markdown in
markup.py. Nothing from a post is executed.
"""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from itertools import chain, islice
from pathlib import Path

from lorabook.data.examples import Pair
from lorabook.data.html import clean
from lorabook.data.markup import LOOKED_AT, Markup, RowError, given_text, one_line
from lorabook.data.own_rows import is_own, own_pairs
from lorabook.data.sources import DUPLICATE, KNOWN_COLUMNS, Record, records, whole
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
    """How many rows were read, how many were kept, and why the others were not: read = kept + sum of dropped.

    `pairs` came of the rows kept, more than one of a longer conversation; `markup` is how their texts were read.
    """

    markup: Markup
    read: int = 0
    kept: int = 0
    pairs: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def __str__(self) -> str:
        reasons = [f"rows dropped because {reason}: {count}" for reason, count in self.dropped.items()]
        return "\n".join(
            [f"rows read: {self.read}", f"texts read as: {self.markup}", f"pairs kept: {self.pairs}", *reasons]
        )


@dataclass(frozen=True)
class Loaded:
    """What `load` returns."""

    pairs: list[Pair]
    report: RowCounts


def load(
    source: str | Path = "sample",
    rows: int | None = None,
    revision: str | None = None,
    seed: int = 0,
    text_format: str = "auto",
) -> Loaded:
    """Read rows and keep the best answer to each question, as text.

    source: "sample" (ships with lorabook); a path, which is a .jsonl, .jsonl.gz, .csv or .parquet file, or a folder
    with Kaggle's Questions.csv and Answers.csv; or a hub id such as HUB_ID. A path that exists wins over a hub id, and
    a hub id reads owner/name without an ending; "./sample" is a path. Its columns are `question` and `answer`, or
    `messages` (`own_pairs`), or those of `Row`.

    rows: read only the first so many rows of the source, malformed ones included; of Kaggle's folder, the first so
    many questions with all their answers. None means everything, but DEFAULT_ROWS of the hub and of Kaggle. A hub set
    is streamed and never downloaded whole; `revision` is its branch, tag or commit.

    text_format: "html" is converted (`html_to_text`), "markdown" or plain text kept as it is; "auto" tells which of the
    two it is from the first rows (`Markup.of`), and the report says what was found.

    Of rows as in `Row` the best answer has the highest score; between equal or unknown scores the first one read wins.
    A row without title is used, with title ''; one without question, answer or question id, one whose bodies hold no
    text, one with a body or title too long, and a duplicate are dropped and counted in the report. Of one's own rows
    all that can be used are kept. `seed` shuffles the pairs.

    Raises DataError if the source does not exist, lacks a column or yields no pair; NetworkError if the hub cannot be
    reached; SettingError if `rows` is below 1 or the format is unknown.
    """
    if rows is not None and rows < 1:
        raise SettingError(f"rows is {rows}.", "Give 1 or more, or None for all.")
    Markup.of(text_format, ())  # before a source is opened
    read = records(str(source), rows, revision)
    first = list(islice(read, LOOKED_AT))
    report = RowCounts(Markup.of(text_format, first))
    own: list[Pair] = []
    best: dict[int, tuple[float, Pair]] = {}  # by question id, with the score
    seen = set()
    for number, record in enumerate(chain(first, read), 1):
        report.read += 1
        try:
            if is_own(record):
                own += own_pairs(record, number, report.markup)
                report.kept += 1
                continue
            row = _row(record)
            key = (row.question_id, row.answer_body if row.answer_id is None else row.answer_id)
            if key in seen:
                raise RowError(DUPLICATE, f"question {row.question_id}")
            score = float("-inf") if row.answer_score is None else row.answer_score
            is_first = row.question_id not in best
            if is_first or score > best[row.question_id][0]:
                best[row.question_id] = score, to_text(row, report.markup)
            seen.add(key)
            if not is_first:
                report.drop(NOT_BEST)
        except RowError as error:
            report.drop(error.reason)
    pairs = own + [pair for _, pair in best.values()]
    report.kept += len(best)
    report.pairs = len(pairs)
    if not pairs:
        raise DataError(
            f"{source} has no usable row: {'; '.join(str(report).splitlines())}.", f"Each row needs {KNOWN_COLUMNS}."
        )
    random.Random(seed).shuffle(pairs)
    return Loaded(pairs, report)


def to_text(row: Row, markup: Markup) -> Pair:
    """The pair of a row, its bodies as `Markup.text` reads them. Raises RowError if a body is too long or empty."""
    bodies = (markup.text(name, getattr(row, name)) for name in ("question_body", "answer_body"))
    return Pair(row.question_id, row.title, *bodies, tags=row.tags)


def _row(record: Record) -> Row:
    """Check a record and give its values their types."""
    if isinstance(record, str):
        raise RowError(record, "no columns")
    question_id = whole(record.get("question_id"))
    if question_id is None:
        raise RowError("question_id is not a whole number", shown(record.get("question_id")))
    tags = record.get("tags") or ()
    if isinstance(tags, str):  # "<python><list>", "python, list" or "['python', 'list']"
        tags = re.findall(r"""[^\s<>,|'"\[\]]+""", tags)
    return Row(
        title=one_line(record.get("title")),
        question_id=question_id,
        question_body=given_text("question_body", record.get("question_body")),
        question_score=whole(record.get("question_score")),
        question_date=_text(record.get("question_date")),
        answer_id=whole(record.get("answer_id")),
        answer_body=given_text("answer_body", record.get("answer_body")),
        answer_score=whole(record.get("answer_score")),
        answer_date=_text(record.get("answer_date")),
        tags=tuple(clean(tag) for tag in tags if isinstance(tag, str)) if isinstance(tags, Iterable) else (),
    )


def _text(value: object) -> str | None:
    return (clean(str(value)) or None) if isinstance(value, str | int | float | date) else None
