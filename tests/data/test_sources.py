"""Each source of rows, from small files written here by pandas, the standard library or by hand."""

import contextlib
import csv
import gzip
import json
import struct
import sys
from dataclasses import fields
from pathlib import Path
from random import Random

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lorabook.data.sources import COLUMNS, FIELD_LIMIT, HUB_ID
from lorabook.data.stackoverflow import Loaded, Row, load
from lorabook.errors import DataError, NetworkError
from tests.kit import processes
from tests.kit.hub_stub import LoopbackHub

ROWS = [
    {
        "title": "Umlauts, \"quotes\" and 'é'",
        "question_id": 1,
        "question_body": '<p>a, "b"\nc é 漢</p>',
        "question_score": 3,
        "question_date": "2020-01-01T00:00:00Z",
        "answer_id": 11,
        "answer_body": "<pre><code>x = 1\n\n    y</code></pre>",
        "answer_score": 2,
        "answer_date": None,
        "tags": ["python", "csv"],
    },
    {
        "title": "Nulls",
        "question_id": 2,
        "question_body": "<p>q</p>",
        "question_score": None,
        "question_date": None,
        "answer_id": None,
        "answer_body": "<p>a</p>",
        "answer_score": None,
        "answer_date": None,
        "tags": ["python"],
    },
]


def write_jsonl(path: Path) -> None:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8") as file:
        file.write("\ufeff" + "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n")


WRITERS = {
    "rows.jsonl": write_jsonl,
    "rows.jsonl.gz": write_jsonl,
    "rows.csv": lambda path: pd.DataFrame(ROWS).to_csv(path, index=False),
    "rows.parquet": lambda path: pd.DataFrame(ROWS).to_parquet(path),
}


def by_id(loaded: Loaded) -> dict[int, tuple[str, ...]]:
    return {p.question_id: (p.title, p.question, p.answer, *p.tags) for p in loaded.pairs}


def test_columns_are_those_of_a_row() -> None:
    assert [column.name for column in fields(Row)] == list(COLUMNS)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_pairs(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    loaded = load(tmp_path / name)
    assert by_id(loaded) == {
        1: ("Umlauts, \"quotes\" and 'é'", 'a, "b" c é 漢', "```\nx = 1\n\n    y\n```", "python", "csv"),
        2: ("Nulls", "q", "a", "python"),
    }
    assert (loaded.report.read, loaded.report.dropped) == (2, {})
    assert load(str(tmp_path / name), rows=1).report.read == 1


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_a_missing_column_is_named(tmp_path: Path, name: str) -> None:
    table = pd.DataFrame(ROWS).drop(columns=["answer_body"])
    table.to_csv(tmp_path / name, index=False) if name.endswith("csv") else table.to_parquet(tmp_path / name)
    with pytest.raises(DataError, match=r"lacks answer_body; its columns are title, .*Give a source"):
        load(tmp_path / name)


def test_only_the_three_needed_columns_are_needed(tmp_path: Path) -> None:
    pd.DataFrame(ROWS)[["question_id", "question_body", "answer_body"]].to_parquet(tmp_path / "few.parquet")
    assert by_id(load(tmp_path / "few.parquet"))[2] == ("", "q", "a")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    whole = gzip.compress(json.dumps(ROWS[0]).encode() * 50)
    damaged = {"cut.jsonl.gz": whole[:-20], "no.jsonl.gz": b"text", "no.parquet": b"PAR1?", "no.csv": b"\x00\xff\n"}
    damaged |= {"bent.jsonl.gz": whole[:10] + b"\xff" * 9 + whole[19:], "endless.csv": b"x" * (FIELD_LIMIT + 1)}
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            load(tmp_path / name)
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(DataError, match="rows read: 0"):
        load(tmp_path / "empty.jsonl")


def test_what_is_no_source_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for source in (
        "x" * 5000,
        "~nobody-of-this-name/rows.jsonl",
        "a\0b",
        "missing.jsonl",
        "folder/missing.parquet",
        "/missing/folder",
        "owner/name/more",
        "word",
    ):
        with pytest.raises(DataError, match=r"does not exist.*Give \"sample\""):
            load(source)
    (tmp_path / "rows.xlsx").touch()
    with pytest.raises(DataError, match=r"ending.*\.jsonl\.gz"):
        load("rows.xlsx")
    with pytest.raises(DataError, match=r"holds no Questions\.csv; there is rows\.xlsx"):
        load(tmp_path)


def test_cells_that_python_cannot_hold_are_refused_in_words(tmp_path: Path) -> None:
    """Dates after the year 9999, and bytes that are no text, as another program may have written them."""
    offsets, bytes_ = pa.py_buffer(struct.pack("<3i", 0, 2, 4)), pa.py_buffer(b"\xff\xfeok")
    torn = pa.Array.from_buffers(pa.string(), 2, [None, offsets, bytes_])
    sound = {"question_id": [1, 2], "question_body": ["<p>q</p>"] * 2, "answer_body": ["<p>a</p>"] * 2}
    for name, column in (("answer_date", pa.array([2**31 - 1, -(2**31)], pa.date32())), ("answer_body", torn)):
        pq.write_table(pa.table(sound | {name: column}), tmp_path / "rows.parquet")
        with pytest.raises(DataError, match="is not sound Parquet"):
            load(tmp_path / "rows.parquet")


def test_bytes_of_parquet_turned_round_are_refused_or_read(tmp_path: Path) -> None:
    whole = tmp_path / "whole.parquet"
    pd.DataFrame(ROWS).to_parquet(whole)
    content, random = whole.read_bytes(), Random(0)
    for _ in range(60):
        turned = bytearray(content)
        for _ in range(random.choice((1, 3, 10))):
            turned[random.randrange(len(turned))] ^= 1 << random.randrange(8)
        (tmp_path / "turned.parquet").write_bytes(turned)
        with contextlib.suppress(DataError):
            load(tmp_path / "turned.parquet")


QUESTIONS = [
    ["Id", "OwnerUserId", "CreationDate", "Score", "Title", "Body"],
    ["1", "", "2008-08-01", "5", 'Wie "geht" é?', "<p>Zeile\n eins, é</p>"],
    ["2", "NA", "2008-08-01", "1", "Unanswered", "<p>q</p>"],
    ["3", "4", "2008-08-01", "1", "Third", "<p>q3</p>"],
]
ANSWERS = [
    ["Id", "OwnerUserId", "CreationDate", "ParentId", "Score", "Body"],
    ["11", "", "2008-08-02", "1", "2", "<p>worse</p>"],
    ["12", "", "2008-08-02", "1", "7", '<p>bes"t</p>'],
    ["13", "", "2008-08-02", "3", "0", "<p>third</p>"],
    ["14", "", "2008-08-02", "99", "0", "<p>elsewhere</p>"],
]


def write_kaggle(folder: Path) -> None:
    for name, lines in (("Questions.csv", QUESTIONS), ("Answers.csv", ANSWERS)):
        with (folder / name).open("w", encoding="latin-1", newline="") as file:
            csv.writer(file).writerows(lines)


def test_kaggles_folder_is_joined(tmp_path: Path) -> None:
    write_kaggle(tmp_path)
    loaded = load(tmp_path)
    assert by_id(loaded) == {1: ('Wie "geht" é?', "Zeile eins, é", 'bes"t'), 3: ("Third", "q3", "third")}
    assert loaded.report.read == 4  # three answers to these questions, and a question without one
    assert loaded.report.dropped == {"another answer to the same question is better": 1, "answer_body is missing": 1}
    first = load(tmp_path, rows=2)
    assert set(by_id(first)) == {1} and first.report.read == 3


def test_kaggles_malformed_lines_are_counted(tmp_path: Path) -> None:
    write_kaggle(tmp_path)
    with (tmp_path / "Questions.csv").open("a", encoding="latin-1") as file:
        file.write('short,line\n1,,,,again,<p>q</p>\n5,,\x00,1,"NUL \x00",<p>q5</p>\n,,,,no id,<p>q</p>\n')
        file.write('6,,,1,"never closed,' + "x\n" * FIELD_LIMIT)
    with (tmp_path / "Answers.csv").open("a", encoding="latin-1") as file:
        file.write("15,,,5,1,<p>a5</p>\n16,,,x,1,<p>a</p>\n17,,,5,\n")
    before = csv.field_size_limit(1000)
    loaded = load(tmp_path, rows=8)
    assert csv.field_size_limit(before) == 1000
    assert by_id(loaded)[5] == ("NUL", "q5", "a5") and set(by_id(loaded)) == {1, 3, 5}
    # short, no id and never closed among the questions; two among the answers
    assert loaded.report.dropped["the line cannot be read"] == 5
    assert loaded.report.dropped["the row is a duplicate"] == 1
    assert loaded.report.read == loaded.report.kept + sum(loaded.report.dropped.values())


class Stream:
    """Counts how many rows are taken from it."""

    def __init__(self, rows: list[dict], failure: Exception | None = None) -> None:
        self.rows, self.failure, self.taken = rows, failure, 0

    def __iter__(self):
        for row in self.rows:
            self.taken += 1
            yield row
        if self.failure:
            raise self.failure


def test_no_more_of_a_hub_set_is_read_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, asked = Stream([ROWS[1] | {"question_id": i} for i in range(100)]), {}
    monkeypatch.setattr("datasets.load_dataset", lambda *name, **options: asked.update(options, name=name) or stream)
    assert load(HUB_ID, rows=5, revision="abc").report.read == stream.taken == 5
    assert asked == {"name": (HUB_ID,), "split": "train", "streaming": True, "revision": "abc"}
    monkeypatch.setattr("lorabook.data.sources.DEFAULT_ROWS", 50)
    assert load(HUB_ID).report.read == 50


def test_hub_failures_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.errors import HfHubHTTPError

    http_library = sys.modules[HfHubHTTPError.__bases__[0].__module__.partition(".")[0]]
    cases: list[tuple[Exception, type[Exception], str]] = [
        (ConnectionError("Couldn't reach it"), NetworkError, "cannot be reached.*--data sample"),
        (http_library.ReadTimeout("slow"), NetworkError, "cannot be reached: slow"),
        (DatasetNotFoundError("no"), DataError, "neither a file koutch/stackoverflow_python nor"),
        (RuntimeError("Dataset scripts are no longer supported"), DataError, "cannot be read: Dataset scripts"),
        (ValueError("Bad split"), DataError, "cannot be read: Bad split"),
    ]
    for failure, ours, text in cases:
        for rows in ([], ROWS):  # at once, or after some rows
            stream = Stream(rows, failure)
            monkeypatch.setattr("datasets.load_dataset", lambda *_, stream=stream, **__: stream)
            with pytest.raises(ours, match=text):
                load(HUB_ID)
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: Stream([{"text": "x"}] * 9))
    with pytest.raises(DataError, match="lacks question_id, question_body, answer_body; its columns are text"):
        load(HUB_ID)


def test_an_existing_path_wins_over_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / HUB_ID).mkdir(parents=True)
    write_kaggle(tmp_path / HUB_ID)
    assert set(by_id(load(HUB_ID))) == {1, 3}


STREAM = """
from lorabook.errors import LorabookError
from lorabook.data.stackoverflow import load

for source, revision in (("owner/rows", None), ("owner/rows", "nowhere"), ("owner/none", None)):
    try:
        print(load(source, rows=1, revision=revision).pairs[0].title)
    except LorabookError as error:
        print(type(error).__name__, error.problem.splitlines()[0])
"""


@pytest.mark.hub
def test_a_hub_set_streams(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    pd.DataFrame(ROWS).to_parquet(tmp_path / "set" / "train-00000-of-00001.parquet")
    with LoopbackHub() as hub:
        hub.add("owner/rows", tmp_path / "set", "datasets")
        done = processes.run("-c", STREAM, env=hub.environment(tmp_path / "home"), timeout=120)
    rows, revision, none = done.stdout.splitlines()
    assert rows == ROWS[0]["title"], done.stderr
    assert revision.startswith("DataError There is neither a file owner/rows nor")
    assert none.startswith("DataError There is neither a file owner/none nor")
