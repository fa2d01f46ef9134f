"""HTML told from Markdown by what is in a file; the bundled sample, written both ways, is the oracle."""

import json
import time
from pathlib import Path

import pytest

from lorabook.data.html import HTML_LIMIT
from lorabook.data.markup import Markup, RowError, has_tags
from lorabook.data.sources import SAMPLE
from lorabook.data.stackoverflow import load
from lorabook.errors import SettingError

MARKDOWN = "Use `<b>` and `</b>`:\n\n```html\n<p>a &lt; b</p>\n\n    <i>kept</i>\n```\n\n    </p>\n\nx <- y && z < 3  "


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def sample() -> list[dict]:
    """Question and answer of the bundled sample, as HTML."""
    found = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()[:200]]
    return [{"question": row["question_body"], "answer": row["answer_body"]} for row in found]


def test_the_sample_is_html_and_what_is_made_of_it_is_markdown(tmp_path, sample):
    as_html = load(write(tmp_path / "html.jsonl", sample))
    converted = [{"question": pair.question, "answer": pair.answer} for pair in as_html.pairs]
    as_markdown = load(write(tmp_path / "markdown.jsonl", converted))
    assert str(as_html.report.markup) == "HTML, since 400 of the first 400 texts contain HTML tags"
    assert str(as_markdown.report.markup) == "Markdown or plain text, since 0 of the first 400 texts contain HTML tags"
    texts = [{(pair.question, pair.answer) for pair in loaded.pairs} for loaded in (as_html, as_markdown)]
    assert texts[0] == texts[1] and len(texts[0]) == 200


def test_markdown_is_kept_character_for_character(tmp_path):
    rows = [{"question": f"{MARKDOWN}{i}", "answer": f"\n\n{MARKDOWN}\r\nend\x00\n"} for i in range(3)]
    loaded = load(write(tmp_path / "mine.jsonl", rows))
    assert {pair.question for pair in loaded.pairs} == {row["question"] for row in rows}
    assert {pair.answer for pair in loaded.pairs} == {f"{MARKDOWN}\nend"}
    assert "texts read as: Markdown or plain text, since 0 of the first 6 texts contain HTML tags" in str(loaded.report)


def test_stackoverflow_s_columns_may_hold_markdown_too(tmp_path):
    row = {"question_id": 1, "question_body": MARKDOWN, "answer_body": "a\nb"}
    (pair,) = load(write(tmp_path / "mine.jsonl", [row])).pairs
    assert (pair.question, pair.answer) == (MARKDOWN, "a\nb")


def test_half_of_the_texts_decide_and_the_reader_has_the_last_word(tmp_path):
    plain, tagged = {"question": "a\nb", "answer": "c\nd"}, {"question": "<p>a\nb</p>", "answer": "<p>c\nd</p>"}
    for rows, is_html in (([plain, tagged], True), ([plain, plain, tagged], False)):
        path = write(tmp_path / "mine.jsonl", rows)
        assert load(path).report.markup.is_html == is_html
        assert {p.question for p in load(path, text_format="html").pairs} == {"a b"}
        kept = load(path, text_format="markdown")
        assert {p.question for p in kept.pairs} == {"a\nb", "<p>a\nb</p>"}
        assert "texts read as: Markdown or plain text, as asked" in str(kept.report)
    with pytest.raises(SettingError, match=r"text format is 'rst'\. Give one of auto, html, markdown"):
        load("nowhere.jsonl", text_format="rst")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<p>a</p>", True),
        ("</PRE>", True),
        ("a `</p>` b", False),
        ("a ``x ` </p>`` b", False),
        ("a ` </p> b", True),
        ("``` a\n```\n</p>", True),
        ("```\n</p>\n```", False),
        ("    </p>\n\t</p>", False),
        ("List<T> x; a < b > c </x> &lt;/p&gt; <br>", False),
        ("", False),
    ],
)
def test_what_counts_as_a_tag(text: str, found: bool):
    assert has_tags(text) == found


def test_a_field_that_is_no_text_is_refused_by_name():
    markdown = Markup(False, "as asked")
    for value, words in ((None, "missing"), (7, "not text"), ("x" * (HTML_LIMIT + 1), "too long"), (" \n", "no text")):
        with pytest.raises(RowError, match=f"answer .*{words}"):
            markdown.text("answer", value)
    assert markdown.text("answer", "x" * HTML_LIMIT)


@pytest.mark.parametrize("unit", ["`", "` ", "`` ` ", "``` x\n", "</", "<p", " ".join("`" * n for n in range(1, 600))])
def test_hostile_texts_take_seconds_at_most(unit: str):
    started = time.process_time()
    has_tags(unit * (HTML_LIMIT // len(unit)))
    assert time.process_time() - started < 5
