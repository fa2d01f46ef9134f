"""Rows of data as a stranger might write them, each with what `load` must make of it."""

import gzip
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lorabook.data.html import HTML_LIMIT

SCRIPT = "<img src=x onerror=\"window.hacked=1;document.title='hacked'\"><script>window.hacked=1</script>"
CONTROL_TOKENS = ("<|endoftext|>", "<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<|im_start|>", "<s>", "</s>")
UNCLOSED = ("<p>never <b>closed", "<pre><code>x", "a <!-- never", "<![CDATA[ x", "x <", "</p></p>x", "<p <b>x", "<?x")
ACTIVE = ("<svg onload=alert(1)>y</svg>x", "<a href='javascript:alert(1)'>x</a>", "<iframe src=x></iframe>")
GOOD = {"title": "t", "question_id": 1, "question_body": "<p>q</p>", "answer_body": "<p>a</p>", "answer_id": 11}


def row(**changes: Any) -> dict[str, Any]:
    return GOOD | {"question_id": 2, "answer_id": 12} | changes


@dataclass(frozen=True)
class RowCase:
    """A row, or a raw line, after a sound one. `reason` is the heading it is dropped under; None: it becomes a pair."""

    kind: str
    row: dict[str, Any] | str
    reason: str | None


def rows() -> Iterator[RowCase]:
    missing = {"question_id": "question_id is not a whole number"}
    for name in ("question_id", "question_body", "answer_body"):
        yield RowCase("null fields", row(**{name: None}), missing.get(name, f"{name} is missing"))
    for name in ("title", "answer_id", "tags", "answer_score", "question_date"):
        yield RowCase("null fields", row(**{name: None}), None)
    for name in ("title", "question_body", "answer_body"):
        for size in (1_000_000, 20_000_000):
            yield RowCase("megabytes", row(**{name: "x" * size}), f"{name} is too long")
    yield RowCase("megabytes", row(answer_body="<p>" + "x " * (HTML_LIMIT // 2 - 10)), None)
    deep = 100_000
    for unit in ("<b>", "<ul><li>x", "<blockquote>x", "<div>", "<pre>x", "<a href='"):
        too_long = len(unit) * deep > HTML_LIMIT
        yield RowCase("nesting", row(answer_body=unit * deep), "answer_body is too long" if too_long else None)
        yield RowCase("nesting", row(answer_body="x" + unit * (HTML_LIMIT // len(unit) - 1)), None)
    yield RowCase("nesting", '{"question_id": ' + "[" * deep, "the line cannot be read")
    yield RowCase("nesting", json.dumps(row())[:-1] + ', "tags": ' + "[" * 900 + "]" * 900 + "}", None)
    for body in UNCLOSED:
        yield RowCase("unclosed tags", row(answer_body=body), None)
    for body in (SCRIPT, *ACTIVE):
        yield RowCase("scripts and event handlers", row(answer_body=body + "<p>x</p>", title=SCRIPT), None)
    yield RowCase("scripts and event handlers", row(answer_body="<script>x</script>"), "answer_body holds no text")
    for text in ("\x00\x1b[2J\x07\x9bx", "a\ud800b", "\udfff\ud800x", "a\u202eb\u2066", "\ufeffx", "\r\rx\r\n"):
        yield RowCase("control characters, lone surrogates", row(answer_body=text, title=text, tags=[text]), None)
    yield RowCase("control characters, lone surrogates", row(answer_body="\x07\x00"), "answer_body holds no text")
    for token in CONTROL_TOKENS:
        body = token.replace("<", "&lt;").replace(">", "&gt;")
        yield RowCase("special tokens in text", row(title=token, question_body=body, answer_body=f"{body} x"), None)
    yield RowCase("doubled ids", row(question_id=1, answer_id=11), "the row is a duplicate")
    yield RowCase("doubled ids", row(question_id=1), "another answer to the same question is better")
    yield RowCase("doubled ids", json.dumps(row())[:-1] + ', "question_id": 3}', None)
    for date in ("9999-99-99", "-1", "", 10**30, {"a": 1}, -5, "x" * 1000):
        yield RowCase("dates out of range", row(question_date=date, answer_date=date), None)
    for value in (1.5, True, [1], {"a": 1}, "x", "", "1e5", "٣x"):
        yield RowCase("wrong types", row(question_id=value), "question_id is not a whole number")
    for number in ("1e999", "NaN", "-Infinity"):
        line = json.dumps(row()).replace('"question_id": 2', f'"question_id": {number}')
        yield RowCase("wrong types", line, "question_id is not a whole number")
    for value in (1, ["x"], {"a": 1}, False):
        yield RowCase("wrong types", row(answer_body=value), "answer_body is not text")
    yield RowCase("wrong types", row(tags={"a": 1}, answer_score="many", answer_id=[]), None)
    for line in ("[1]", "null", "7", '"x"', "{", "{'a': 1}", "\x00", '{"a": ' + "9" * 5000 + "}"):
        yield RowCase("wrong types", line, "the line cannot be read")


@dataclass(frozen=True)
class FileCase:
    """A file: `kept` pairs are read from it and `dropped` rows counted, or it is refused in `words`."""

    kind: str
    name: str
    write: Callable[[Path], object]
    kept: int = 0
    dropped: int = 0
    words: str | None = None


def _bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _parquet(**columns: Any) -> Callable[[Path], object]:
    sound = {"question_id": [1, 2], "question_body": ["<p>q</p>"] * 2, "answer_body": ["<p>a</p>"] * 2}
    return lambda path: pq.write_table(pa.table(sound | columns), path)


def files() -> Iterator[FileCase]:
    line, head = json.dumps(GOOD).encode() + b"\n", b"title,question_id,question_body,answer_body\n"
    good = b"t,1,<p>q</p>,<p>a</p>\n"
    many = gzip.compress(line * 500)
    for name in ("x.jsonl", "x.csv", "x.parquet", "x.jsonl.gz"):
        yield FileCase(
            "files cut short or empty", name, _bytes(b""), words="cannot be read|no usable row|lacks|Parquet"
        )
    for length in (1, 9, 12, len(many) // 2, len(many) - 8, len(many) - 1):
        yield FileCase("files cut short or empty", "x.jsonl.gz", _bytes(many[:length]), words="cannot be read")
    yield FileCase("files cut short or empty", "x.jsonl", _bytes(line + line[:40]), 1, 1)
    for share in (0.1, 0.5, 0.9, 0.999):
        cut = _cut_parquet(share)
        yield FileCase("files cut short or empty", "x.parquet", cut, words="Parquet|cannot be read")
    latin = line.replace(b'"t"', b'"caf\xe9"')
    yield FileCase("latin-1 bytes in UTF-8", "x.jsonl", _bytes(latin), 1)
    yield FileCase("latin-1 bytes in UTF-8", "x.csv", _bytes(head + good.replace(b"t,", b"caf\xe9,")), 1)
    torn = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(struct.pack("<3i", 0, 2, 4)), pa.py_buffer(b"\xe9\xffok")]
    )
    yield FileCase("latin-1 bytes in UTF-8", "x.parquet", _parquet(title=torn), words="not sound Parquet")
    yield FileCase("latin-1 bytes in UTF-8", "x.parquet", _parquet(answer_body=torn), words="not sound Parquet")
    never = good + b'u,2,"<p>never closed</p>,<p>a</p>\n'
    yield FileCase("quotes that never close", "x.csv", _bytes(head + never), 1, 1)
    yield FileCase("quotes that never close", "x.csv", _bytes(head + never + good.replace(b"1", b"3") * 1000), 1, 1)
    yield FileCase("quotes that never close", "x.csv", _bytes(head + good + b'"' + b"x\n" * 1_000_009), 1, 9)
    yield FileCase("quotes that never close", "x.csv", _bytes(b'"' + head + good), words="lacks")
    for name, dates in (("us", pa.timestamp("us")), ("ms", pa.timestamp("ms")), ("day", pa.date32())):
        large = 2**31 - 1 if name == "day" else 2**60
        column = pa.array([large, -large], dates)
        refused = _parquet(question_date=column)
        yield FileCase("dates out of range in Parquet", "x.parquet", refused, words="not sound Parquet")
    yield FileCase("columns of another kind", "x.parquet", _parquet(answer_body=[b"a", b"b"]), words="is not text: 2")
    yield FileCase("columns of another kind", "x.csv", _bytes(b"a,b\n1,2\n"), words="lacks question_id")


def _cut_parquet(share: float) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        _parquet()(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return write
