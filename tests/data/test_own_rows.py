"""Rows of one's own: pairs and conversations, from every kind of file; README's example among them."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from lorabook.data.examples import Message, Pair, encode_prompt, prompt
from lorabook.data.split import split
from lorabook.data.stackoverflow import Loaded, load
from lorabook.errors import DataError
from tests.kit.text import tokenizer

ROOT = Path(__file__).resolve().parents[2]
CODE = "Like this:\n\n```python\nif a < b:\n\tprint('&amp;')\n```"
ROWS = [
    {"title": "A  title", "question": "Why?\nHow?", "answer": CODE},
    {"title": None, "question": "q", "answer": "a"},
]


def say(*texts: str) -> list[dict[str, str]]:
    """A conversation: "s:" starts the system's text, "u:" the user's, "a:" the assistant's."""
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return [{"role": roles.get(text[0], text[0]), "content": text[2:]} for text in texts]


@pytest.fixture
def read(tmp_path: Path):
    def read(*rows: dict) -> Loaded:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return load(path)

    return read


def by_row(loaded: Loaded) -> list[Pair]:
    return sorted(loaded.pairs, key=lambda pair: (pair.question_id, len(pair.earlier)))


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet"])
def test_every_kind_of_file_gives_the_same_pairs_without_ids(tmp_path: Path, name: str):
    table = pd.DataFrame(ROWS)
    {
        "rows.jsonl": lambda path: table.to_json(path, orient="records", lines=True),
        "rows.csv": lambda path: table.to_csv(path, index=False),
        "rows.parquet": lambda path: table.to_parquet(path),
    }[name](tmp_path / name)
    loaded = load(tmp_path / name)
    assert by_row(loaded) == [Pair(1, "A title", "Why?\nHow?", CODE), Pair(2, "", "q", "a")]
    assert (loaded.report.read, loaded.report.kept, loaded.report.pairs) == (2, 2, 2)


def test_a_column_that_is_missing_is_named(tmp_path: Path):
    pd.DataFrame({"question": ["q"], "reply": ["a"]}).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(
        DataError, match=r"lacks answer; its columns are question, reply\. Give .*question and answer, or"
    ):
        load(tmp_path / "rows.csv")


def test_every_answer_of_a_conversation_becomes_a_pair(tmp_path: Path, read):
    talk = say("s:Be brief.", "u:Why?", "a:Because.", "u:Why that?", "a:```\n<x>\n```", "u:unanswered")
    first = Pair(1, "", "Why?", "Because.", earlier=(Message("system", "Be brief."),))
    before = (*first.messages, Message("assistant", "Because."))
    expected = [first, Pair(1, "", "Why that?", "```\n<x>\n```", earlier=before), Pair(2, "", "q", "a")]
    loaded = read({"messages": talk}, {"messages": say("u:q", "a:a")})
    assert by_row(loaded) == expected
    assert str(loaded.report).splitlines() == [
        "rows read: 2",
        "texts read as: Markdown or plain text, as messages always are",
        "pairs kept: 3",
    ]
    assert prompt(expected[1]) == (
        "Be brief.\n\nQuestion: Why?\n\nAnswer:\nBecause.\n\nQuestion: Why that?\n\nAnswer:\n"
    )
    pd.DataFrame({"messages": [talk, say("u:q", "a:a")]}).to_parquet(tmp_path / "rows.parquet")
    assert by_row(load(tmp_path / "rows.parquet")) == expected


WRONG = {
    "messages is no list of messages": ["text", {}, ["text"], 3],
    "a role is none of system, user, assistant": [
        say("u:q", "tool:x", "a:a"),
        [{"content": "x"}],
        [{"role": ["user"]}],
    ],
    "user and assistant do not take turns": [
        say("a:a"),
        say("u:q", "u:q", "a:a"),
        say("u:q", "a:a", "a:a"),
        say("u:q", "s:late", "a:a"),
        say("s:1", "s:2", "u:q", "a:a"),
    ],
    "the conversation is too long": [say("u:q", "a:a") * 501],
    "the assistant says nothing": [[], say("s:s"), say("u:q")],
    "content is missing": [[{"role": "user"}]],
    "content is not text": [[{"role": "user", "content": [{"type": "text", "text": "q"}]}]],
    "content holds no text": [say("u:q", "a: \n")],
}


@pytest.mark.parametrize("reason", WRONG)
def test_what_is_no_conversation_is_counted_and_named(read, reason: str):
    loaded = read(*({"messages": talk} for talk in WRONG[reason]), {"messages": say("u:q", "a:a")})
    assert loaded.report.dropped == {reason: len(WRONG[reason])}
    assert (loaded.report.kept, loaded.report.pairs) == (1, 1)
    with pytest.raises(DataError, match=f"no usable row: .*{reason}: 1"):
        read({"messages": WRONG[reason][0]})


def test_rows_with_a_gap_are_counted_and_named(read):
    loaded = read(*ROWS, {"question": "q"}, {"answer": "a"}, {"question": "", "answer": "a"}, {**ROWS[0], "title": 5})
    assert loaded.report.dropped == {
        "answer is missing": 1,
        "question is missing": 1,
        "question holds no text": 1,
        "title is not text": 1,
    }


def test_a_split_keeps_a_conversation_whole_and_tells_short_questions_apart(read):
    """ "Go on." is asked in every conversation, and is no copy: what was said before differs."""
    talks = [say(f"u:question {i}", f"a:answer {i}", "u:Go on.", f"a:more {i}") for i in range(10)]
    train, held_out = split(read(*({"messages": talk} for talk in talks)).pairs, 3)
    sides = [{pair.question_id for pair in side} for side in (train, held_out)]
    assert (len(sides[0]), len(sides[1]), len(held_out)) == (7, 3, 6) and not sides[0] & sides[1]


def test_a_prompt_that_is_too_long_loses_the_oldest_question_first():
    said = [Message(role, f"{role} {i} " * 9) for i in range(3) for role in ("user", "assistant")]
    whole = Pair(1, "", "last " * 9, "x", earlier=(Message("system", "Be brief."), *said))
    shorter = Pair(1, "", whole.question, "x", earlier=(whole.earlier[0], *said[4:]))
    ids = encode_prompt(shorter, tokenizer(), 10**4)
    assert tokenizer().decode(ids) == prompt(shorter)
    assert encode_prompt(whole, tokenizer(), len(ids)) == encode_prompt(whole, tokenizer(), len(ids) + 9) == ids
    cut = tokenizer().decode(encode_prompt(whole, tokenizer(), 40))
    assert cut.startswith("Be brief.\n\nQuestion: last last") and cut.endswith("\n\nAnswer:\n")


def test_the_lines_in_readme_load(tmp_path: Path):
    (lines,) = re.findall(r"````json\n(.*?)````", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "mine.jsonl").write_text(lines, encoding="utf-8")
    loaded = load(tmp_path / "mine.jsonl")
    assert loaded.report.read == loaded.report.kept == len(lines.splitlines()) and not loaded.report.markup.is_html
    assert any(pair.earlier for pair in loaded.pairs) and any("```" in pair.answer for pair in loaded.pairs)
