"""StackOverflow's Python questions: rows -> clean text -> one prompt and one answer per question.

Where rows come from is in sources.py, how HTML becomes text in html_text.py. Nothing from a post is executed.
"""

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from lorabook.data.html import FENCE, HTML_LIMIT, clean, html_to_text
from lorabook.data.sources import DUPLICATE, REQUIRED, Record, records, whole
from lorabook.data.sources import HUB_ID as HUB_ID
from lorabook.errors import DataError, SettingError, shown

ANSWER_MARK = "\n\nAnswer:\n"  # ends every prompt
OWN_WORDS = 20  # a shorter answer may be a label or a phrase that many questions share
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


@dataclass(frozen=True)
class Pair:
    """A question and its answer as text, code in Markdown fences. `title` may be empty; question and answer are not."""

    question_id: int
    title: str
    question: str
    answer: str
    tags: tuple[str, ...] = ()


@dataclass
class Report:
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
    report: Report


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
    report, seen, best = Report(), set(), {}  # best: question id -> (score, pair)
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


def prompt(pair: Pair) -> str:
    """What the model is given; `pair.answer` is what it is to write after it."""
    question = f"{pair.title}\n\n{pair.question}" if pair.title else pair.question
    return f"Question: {question}{ANSWER_MARK}"


def split(pairs: Sequence[Pair], held_out: float = 0.2, seed: int = 0) -> tuple[list[Pair], list[Pair]]:
    """Split into (train, held out) by question id, so that no question is on both sides; each keeps its order.

    Questions under different ids that have the same text, or the same answer of 20 words or more, capitals and spacing
    aside, stay together too. `held_out`: a share of the questions, 0 to 1 and at least one question on each side, or
    their number (an int); more or fewer where copies must stay together. The choice depends on the ids, the copies and
    `seed` alone.

    Raises DataError for fewer than 2 questions that differ; SettingError if `held_out`
    leaves a side empty.
    """
    ids = sorted({pair.question_id for pair in pairs})
    if len(ids) < 2:
        raise DataError(f"There are {len(ids)} questions to split.", "Load at least 2.")
    is_share = not isinstance(held_out, int)
    if not (0 < held_out < 1 if is_share else 1 <= held_out < len(ids)):
        raise SettingError(
            f"held_out is {held_out}, with {len(ids)} questions.",
            f"Give a share between 0 and 1 or a number from 1 to {len(ids) - 1}.",
        )
    count = min(max(round(held_out * len(ids)), 1), len(ids) - 1) if is_share else int(held_out)
    random.Random(seed).shuffle(ids)
    group = _same_text(pairs)
    chosen: set[int] = set()
    for number in ids:
        if number not in chosen and len(chosen) + len(group[number]) <= count:
            chosen |= group[number]
    chosen = chosen or min((group[number] for number in ids), key=len)
    if len(chosen) == len(ids):
        raise DataError(f"All {len(ids)} questions are copies of one another.", "Load questions that differ.")
    return (
        [pair for pair in pairs if pair.question_id not in chosen],
        [pair for pair in pairs if pair.question_id in chosen],
    )


def _same_text(pairs: Sequence[Pair]) -> dict[int, set[int]]:
    """For every question id the ids of its group: itself, and those that share a question's or a long answer's text."""
    group = {pair.question_id: {pair.question_id} for pair in pairs}
    first: dict[tuple[str, ...], int] = {}
    for pair in pairs:
        question, answer = (tuple(t.lower().split()) for t in (f"{pair.title} {pair.question}", pair.answer))
        for text in (("question", *question), ("answer", *answer)):
            if text[0] == "answer" and len(answer) < OWN_WORDS:
                continue
            known = first.setdefault(text, pair.question_id)
            large, small = group[known], group[pair.question_id]
            if large is not small:
                large |= small
                group |= dict.fromkeys(small, large)
    return group


def code_blocks(text: str, closed: bool = False) -> list[str]:
    """The contents of a text's fenced code blocks, in order; with `closed`, without a last one that never ends."""
    blocks, _, is_open = _fenced(text)
    return blocks[:-1] if closed and is_open else blocks


def separate_code(text: str) -> tuple[list[str], str]:
    """A text's code and its prose: what `code_blocks` gives, and the lines outside the fences."""
    blocks, prose, _ = _fenced(text)
    return blocks, prose


def _fenced(text: str) -> tuple[list[str], str, bool]:
    """The code blocks of a text, its prose, and whether the last block is never closed."""
    blocks: list[list[str]] = []
    prose: list[str] = []
    fence = ""  # the one that opened the block being read
    for line in text.split("\n"):
        mark = FENCE.match(line)
        if fence and mark and len(mark[1]) >= len(fence) and not mark[2].strip():
            fence = ""
        elif fence:
            blocks[-1].append(line)
        elif mark:
            fence = mark[1]
            blocks.append([])
        else:
            prose.append(line)
    return ["\n".join(lines) for lines in blocks], "\n".join(prose), bool(fence)


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
