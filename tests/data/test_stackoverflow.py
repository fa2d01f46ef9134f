"""Rows to prompts and answers. Small rows written here; the expected texts are spelled out by hand."""

import gzip
import json
import random
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabook.data.examples import ANSWER_MARK, Pair, prompt
from lorabook.data.fences import code_blocks
from lorabook.data.markup import Markup
from lorabook.data.split import split
from lorabook.data.stackoverflow import NOT_BEST, Loaded, Row, RowError, _row, load, to_text
from lorabook.errors import DataError, SettingError

ROW = {
    "title": "How to  loop?",
    "question_id": 7,
    "question_body": "<p>How do I loop?</p>",
    "question_score": None,
    "question_date": None,
    "answer_id": None,
    "answer_body": "<p>So:</p><pre><code>for x in y:\n    print(x)\n</code></pre>",
    "answer_score": None,
    "answer_date": None,
    "tags": ["python", "loops"],
}


def row(**changes: object) -> dict[str, object]:
    return ROW | changes


@pytest.fixture
def read(tmp_path: Path):
    """Load a list of rows, or of lines, through a .jsonl file."""

    def read(*rows: dict[str, object] | str, **options):
        path = tmp_path / "rows.jsonl"
        path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows), encoding="utf-8")
        return load(path, **options)

    return read


def counts(loaded: Loaded) -> tuple[int, int, dict[str, int]]:
    return loaded.report.read, loaded.report.kept, loaded.report.dropped


def test_a_row_becomes_prompt_and_answer(read) -> None:
    (pair,) = read(ROW).pairs
    assert prompt(pair) == "Question: How to loop?\n\nHow do I loop?\n\nAnswer:\n"
    assert prompt(pair).endswith(ANSWER_MARK)
    assert pair.answer == "So:\n\n```\nfor x in y:\n    print(x)\n```"
    assert (pair.question_id, pair.tags) == (7, ("python", "loops"))


@pytest.mark.parametrize("title", [None, "", " \n"])
def test_a_row_without_title_is_used(read, title: str | None) -> None:
    (pair,) = read(row(title=title)).pairs
    assert prompt(pair) == "Question: How do I loop?\n\nAnswer:\n"


def test_special_tokens_stay_plain_text(read) -> None:
    body = "<p>What is &lt;|endoftext|&gt;?</p><pre><code>&lt;fim_prefix&gt;</code></pre>"
    (pair,) = read(row(title="<|endoftext|>", question_body=body)).pairs
    assert prompt(pair).count("<|endoftext|>") == 2 and "<fim_prefix>" in prompt(pair)


def test_the_best_answer_is_kept(read) -> None:
    scores = {1: [3, 9, 9, None], 2: [None, None], 3: [None, -2], 4: [5]}
    rows = [
        row(question_id=q, answer_id=10 * q + i, answer_score=score, answer_body=f"answer {i}")
        for q, each in scores.items()
        for i, score in enumerate(each)
    ]
    loaded = read(*rows)
    assert {p.question_id: p.answer for p in loaded.pairs} == {
        1: "answer 1",
        2: "answer 0",
        3: "answer 1",
        4: "answer 0",
    }
    assert counts(loaded) == (9, 4, {NOT_BEST: 5})


def test_an_empty_better_answer_does_not_win(read) -> None:
    loaded = read(row(answer_score=1), row(answer_score=2, answer_body="<img src='x'>"))
    assert loaded.pairs[0].answer.startswith("So:")
    assert loaded.report.dropped == {"answer_body holds no text": 1}


MALFORMED = {
    "the line cannot be read": ['{"title": ', "[1, 2]", "[" * 100_000, "\x00", "null"],
    "question_id is not a whole number": [row(question_id=x) for x in (None, "x", 1.5, True, [1])],
    "question_body is missing": [row(question_body=None)],
    "answer_body is missing": [{k: v for k, v in ROW.items() if k != "answer_body"}],
    "title is not text": [row(title=5)],
    "answer_body is not text": [row(answer_body=x) for x in (3, ["a"], {"a": 1}, False)],
    "question_body holds no text": [row(question_body=x) for x in ("", " \n", "<p></p>", "<img src='x'>", "\x07")],
    "answer_body holds no text": [row(answer_body="<script>x</script>")],
    "answer_body is too long": [row(answer_body="x" * 1_000_000)],
    "title is too long": [row(title="x" * 1_000_000)],
}


@pytest.mark.parametrize("reason", MALFORMED)
def test_malformed_rows_are_dropped_and_counted(read, reason: str) -> None:
    bad = MALFORMED[reason]
    loaded = read(row(question_id=1), *bad, row(question_id=2))
    assert sorted(pair.question_id for pair in loaded.pairs) == [1, 2]
    assert counts(loaded) == (2 + len(bad), 2, {reason: len(bad)})


def test_duplicates_are_counted(read) -> None:
    rows = [ROW, ROW, row(answer_id=5, question_id=8), row(answer_id=5, question_id=8, answer_body="edited")]
    assert read(*rows).report.dropped == {"the row is a duplicate": 2}


def test_a_malformed_row_does_not_make_its_sound_copy_a_duplicate(read) -> None:
    assert read(row(question_body=""), ROW).report.dropped == {"question_body holds no text": 1}


def test_nulls_and_numbers_as_text_are_normal(read) -> None:
    better = row(question_id="7", answer_id="3.0", answer_score="12", answer_body="better", tags="<python><list>")
    loaded = read(row(answer_score=4.0), better, row(question_id=8.0, tags=None))
    answers = {pair.question_id: (pair.answer, pair.tags) for pair in loaded.pairs}
    assert set(answers) == {7, 8} and answers[7] == ("better", ("python", "list"))
    assert loaded.report.dropped == {NOT_BEST: 1}


def test_tags_and_dates_are_text_without_control_characters(read) -> None:
    tags = ["a\ud800b", "\x1b[2Jc", 5, None, ["d"], "e"]
    (pair,) = read(row(tags=tags, question_date={"a": 1}, answer_date=10**30)).pairs
    assert pair.tags == ("a\ufffdb", "[2Jc", "e")


def test_the_report_reads_plainly(read) -> None:
    report = read(ROW, ROW, "{").report
    assert str(report).splitlines() == [
        "rows read: 3",
        "texts read as: HTML, since 4 of the first 4 texts contain HTML tags",
        "pairs kept: 1",
        "rows dropped because the row is a duplicate: 1",
        "rows dropped because the line cannot be read: 1",
    ]


def test_rows_counts_rows_read_and_seed_shuffles(read) -> None:
    rows = ["{", *(row(question_id=i) for i in range(20))]
    assert counts(read(*rows, rows=5)) == (5, 4, {"the line cannot be read": 1})
    orders = [[pair.question_id for pair in read(*rows, seed=seed).pairs] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2] and sorted(orders[0]) == sorted(orders[2]) == list(range(20))
    with pytest.raises(SettingError, match="rows is 0"):
        read(*rows, rows=0)


def test_no_usable_row_says_what_was_seen(read) -> None:
    with pytest.raises(DataError, match=r"no usable row: rows read: 2; .*answer_body is missing: 2.*question_id"):
        read(row(answer_body=None), row(question_id=8, answer_body=None))


def test_to_text_says_why_it_refuses() -> None:
    with pytest.raises(RowError, match="answer_body holds no text") as caught:
        to_text(Row("t", 1, "<p>q</p>", None, None, None, "<p> </p>", None, None, ()), Markup(True, "as asked"))
    assert caught.value.reason == "answer_body holds no text"
    assert caught.value.advice == "Leave it out, as load() does."


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=20)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(ROW, JSON)) | JSON, max_size=5))
@pytest.mark.seconds
def test_any_rows_load(tmp_path_factory: pytest.TempPathFactory, rows: list[object]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(r) + "\n" for r in [ROW, *rows])
    report = load(path).report
    assert report.read == 1 + len(rows) == report.kept + sum(report.dropped.values())


def pairs(*ids: int) -> list[Pair]:
    return [Pair(i, "", f"q{i}", f"a{n}") for n, i in enumerate(ids)]


@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(0, 30), min_size=2), share=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_split_keeps_a_question_on_one_side(ids: list[int], share: float, seed: int) -> None:
    if len(set(ids)) < 2:
        with pytest.raises(DataError, match="1 questions"):
            split(pairs(*ids))
        return
    train, held_out = split(pairs(*ids), share, seed)
    left, right = ({p.question_id for p in side} for side in (train, held_out))
    assert left and right and not left & right
    assert abs(len(right) - share * (len(left) + len(right))) <= 1
    assert sorted(p.answer for p in train + held_out) == sorted(p.answer for p in pairs(*ids))
    assert {p.question_id for p in split(pairs(*reversed(ids)), share, seed)[1]} == right


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12), st.integers(0, 5))
def test_split_keeps_copies_under_other_ids_on_one_side(texts: list[tuple[int, int]], seed: int) -> None:
    """The same question asked twice, or the same answer given twice: held out, its text would have been trained on."""
    asked = [f"question  {q}".upper() if i % 2 else f"question {q}" for i, (q, _) in enumerate(texts)]
    many = [Pair(i, "", asked[i], f"answer {a} " + "of many words " * 10) for i, (_, a) in enumerate(texts)]
    try:
        train, held_out = split(many, 0.5, seed)
    except DataError as error:
        assert "copies of one another" in str(error)
        return
    assert train and held_out and len(train) + len(held_out) == len(many)
    for part in (lambda p: " ".join(p.question.lower().split()), lambda p: p.answer):
        assert not {part(p) for p in train} & {part(p) for p in held_out}


def test_split_takes_short_answers_for_no_copies() -> None:
    """Labels, say: with ten questions answered yes or no, two of them can be held out."""
    many = [Pair(i, "", f"question {i}", "yes" if i % 2 else "no") for i in range(10)]
    assert len(split(many)[1]) == 2


def test_split_without_copies_is_what_it_was() -> None:
    """Stored runs and notebooks depend on it: the ids in their order, shuffled by the seed, the first so many."""
    ids = list(range(100, 150))
    random.Random(3).shuffle(shuffled := list(ids))
    assert {p.question_id for p in split(pairs(*ids), 12, 3)[1]} == set(shuffled[:12])


def test_split_by_number_and_seed() -> None:
    many = pairs(*range(50))
    sides = [split(many, 10, seed)[1] for seed in (0, 0, 1)]
    assert sides[0] == sides[1] != sides[2] and len(sides[0]) == len(sides[2]) == 10
    assert len(split(many)[1]) == 10
    for wrong in (0, 50, -1, 0.0, 1.0, 1.5, float("nan")):
        with pytest.raises(SettingError, match="held_out is"):
            split(many, wrong)


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("no code", []),
        ("a\n```\nx = 1\n  y\n```\nb\n```python\nz\n```", ["x = 1\n  y", "z"]),
        ("````\n```\ninner\n```\n````\n", ["```\ninner\n```"]),
        ("```py\nnever closed\n  kept", ["never closed\n  kept"]),
        ("```\n```", [""]),
        ("````\n```  \nstill inside\n````", ["```  \nstill inside"]),
        ("inline ``` is none\n    ```\nindented code is none", []),
        ("```` ``` ````", []),
    ],
)
def test_code_blocks(text: str, blocks: list[str]) -> None:
    assert code_blocks(text) == blocks


def test_the_bundled_sample_loads() -> None:
    loaded = load(rows=60)
    assert loaded.report.kept >= 40
    assert sum(bool(code_blocks(pair.answer)) for pair in loaded.pairs) > loaded.report.kept / 2


def test_dates_are_kept_as_text() -> None:
    found = _row(row(question_date="2016-02-03", answer_date=date(2017, 4, 5)))
    assert (found.question_date, found.answer_date) == ("2016-02-03", "2017-04-05")
    assert _row(row(question_date="", answer_date=None)).question_date is None
