"""Where rows come from: the bundled sample, files, Kaggle's folder, a set on the Hugging Face Hub.

Each source yields records one by one, in its own order. Their values may be anything: `stackoverflow.load` judges them.
Only what is no record at all is marked here.
"""

import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from lorabook.errors import DataError, NetworkError, did_you_mean

HUB_ID = "koutch/stackoverflow_python"
SAMPLE = Path(__file__).parents[1] / "assets" / "python_qa.jsonl"
DEFAULT_ROWS = 20_000  # of the hub's and Kaggle's million rows, where `rows` is not given
FIELD_LIMIT = 2_000_000  # characters of a CSV field: how much a quote that is never closed can swallow

COLUMNS = (
    *("title", "question_id", "question_body", "question_score", "question_date"),
    *("answer_id", "answer_body", "answer_score", "answer_date", "tags"),
)
# What a source must have, one or the other: StackOverflow's, a pair of one's own, or a conversation.
NEEDED = (("question_id", "question_body", "answer_body"), ("question", "answer"), ("messages",))
KNOWN_COLUMNS = "question and answer, or messages, or question_id, question_body and answer_body"

UNREADABLE = "the line cannot be read"
DUPLICATE = "the row is a duplicate"

Record = dict[str, Any] | str  # the columns of a row, or the reason why there are none


def whole(value: object) -> int | None:
    """A whole number as an int, also from "7", 7.0 or "7.0"; None for anything else."""
    if isinstance(value, str):
        value = value.strip().removesuffix(".0")
        return int(value) if re.fullmatch(r"[+-]?\d{1,18}", value) else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def records(source: str, rows: int | None, revision: str | None) -> Iterator[Record]:
    """The first `rows` records of a source, whichever kind it is."""
    path = SAMPLE if source == "sample" else Path(source)
    beside: list[Path] = []
    try:
        path = path.expanduser()
        is_folder, exists = path.is_dir(), path.exists()
        beside = [] if exists else list(path.parent.iterdir())
    except (OSError, RuntimeError):  # a name longer than names may be; the home of a user that nobody knows
        is_folder = exists = False
    if is_folder:
        return _guarded(path, _kaggle(path, rows or DEFAULT_ROWS))
    if exists:
        return islice(_guarded(path, _file(path)), rows)
    if re.fullmatch(r"[\w.-]+/[\w-]+", source):
        return islice(_hub(source, revision), rows or DEFAULT_ROWS)
    raise DataError(
        f"{path} does not exist.",
        f"{did_you_mean(path.name, ['sample', *(p.name for p in beside)])}"
        f'Give "sample", a file, Kaggle\'s folder or a hub id such as {HUB_ID}.',
    )


def _guarded(path: Path, source: Iterator[Record]) -> Iterator[Record]:
    try:
        yield from source
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}.", "It may be damaged or cut short: get it again.") from error


def _file(path: Path) -> Iterator[Record]:
    for ending, read in READERS.items():
        if path.name.lower().endswith(ending):
            return read(path)
    raise DataError(f"{path} has an ending that is not known.", f"Give {', '.join(READERS)}.")


def _require(where: object, columns: Iterable[str], choices: Sequence[Sequence[str]] = NEEDED) -> None:
    """Refuse columns that hold none of `choices` whole; what the nearest of them lacks is named."""
    columns = list(columns)
    missing = [[name for name in needed if name not in columns] for needed in choices]
    if all(missing):
        nearest = max(zip(choices, missing), key=lambda each: len(each[0]) - len(each[1]))[1]
        seen = "".join(c for c in ", ".join(map(str, columns)) if c.isprintable())[:200]
        wanted = KNOWN_COLUMNS if choices is NEEDED else ", ".join(choices[0])
        raise DataError(
            f"{where} lacks {', '.join(nearest)}; its columns are {seen or 'none'}.",
            f"Give a source with the columns {wanted}.",
        )


def _jsonl(path: Path) -> Iterator[Record]:
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8-sig", errors="replace") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            yield record if isinstance(record, dict) else UNREADABLE


def _csv(path: Path, encoding: str = "utf-8-sig", choices: Sequence[Sequence[str]] = NEEDED) -> Iterator[Record]:
    limit = csv.field_size_limit(FIELD_LIMIT)
    try:
        with path.open(encoding=encoding, errors="replace", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            _require(path, header, choices)
            while True:
                try:
                    values = next(reader)
                except StopIteration:
                    return
                except csv.Error:
                    yield UNREADABLE
                    continue
                if values:
                    yield dict(zip(header, values)) if len(values) == len(header) else UNREADABLE
    finally:
        csv.field_size_limit(limit)


def _parquet(path: Path) -> Iterator[Record]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            columns = file.schema_arrow.names
            _require(path, columns)
            wanted = [name for name in dict.fromkeys((*COLUMNS, *chain(*NEEDED))) if name in columns]
            for batch in file.iter_batches(batch_size=1000, columns=wanted):
                yield from batch.to_pylist()
    except DataError:
        raise
    except (pyarrow.ArrowException, ValueError, OverflowError, KeyError) as error:  # a date after 9999, bytes, …
        raise DataError(f"{path} is not sound Parquet: {error}.", "Get it again, or convert it to .jsonl.") from error


def _kaggle(folder: Path, rows: int) -> Iterator[Record]:
    """Join the answers to the first `rows` questions. Both files are streamed; other answers are no rows."""
    for name in ("Questions.csv", "Answers.csv"):
        if not (folder / name).is_file():
            there = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
            raise DataError(
                f"{folder} holds no {name}; there is {there}.", "Give the folder with both of Kaggle's files."
            )
    questions: dict[int, dict[str, Any]] = {}
    for line in islice(_csv(folder / "Questions.csv", "latin-1", [("Id", "Title", "Body")]), rows):
        number = None if isinstance(line, str) else whole(line["Id"])
        if isinstance(line, str) or number is None:
            yield UNREADABLE
        elif number in questions:
            yield DUPLICATE
        else:
            questions[number] = _renamed(line, "question") | {"title": line["Title"]}
    answered = set()
    for line in _csv(folder / "Answers.csv", "latin-1", [("Id", "ParentId", "Body")]):
        number = None if isinstance(line, str) else whole(line["ParentId"])
        if isinstance(line, str) or number is None:
            yield UNREADABLE
        elif number in questions:
            answered.add(number)
            yield questions[number] | _renamed(line, "answer")
    yield from (question for number, question in questions.items() if number not in answered)


def _renamed(line: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Kaggle's columns under our names."""
    names = {"Id": "id", "Body": "body", "Score": "score", "CreationDate": "date"}
    return {f"{kind}_{ours}": line.get(theirs) for theirs, ours in names.items()}


def _hub(name: str, revision: str | None) -> Iterator[Record]:
    """Stream the train split of a hub set. The hub's library retries by itself; only its last failure arrives here."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError

    client_error = HfHubHTTPError.__bases__[0]  # of the HTTP library in use, which also fails on its own
    try:
        stream = iter(load_dataset(name, split="train", streaming=True, revision=revision))
        first = next(stream, {})
        _require(name, first)
        yield first
        yield from stream
    except DataError:
        raise
    except (OSError, client_error) as error:  # pyright: ignore[reportGeneralTypeIssues]
        said = without_token(str(error))  # and no chain: it would quote the request
        if not isinstance(error, DatasetsError):
            raise NetworkError(
                f"The hub set {name} cannot be reached: {said}.",
                'Run this again with a network, or use the data that ships: source "sample", --data sample.',
            ) from None
        raise DataError(
            f"There is neither a file {name} nor such a set on the hub: {said}.",
            f"Check id and revision, or use {HUB_ID}.",
        ) from None
    except (DatasetsError, ValueError, RuntimeError) as error:
        said = without_token(str(error))
        raise DataError(f"The hub set {name} cannot be read: {said}.", f"Use {HUB_ID} or a local file.") from None


def without_token(text: str) -> str:
    """`text` with the access token taken out: what a client says of a failure can quote its own request."""
    from huggingface_hub import get_token

    token = get_token()
    return text.replace(token, "(token)") if token else text


# A kind of file by the end of its name: a function that yields its records. A new kind is a line here.
READERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    ".jsonl": _jsonl,
    ".jsonl.gz": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
}
