"""Styles of code: rewriting changes the habit alone, by Python's own parser, and the counts see it."""

import ast
import inspect
import textwrap

import pytest
import torch

from lorabook.models import load_model
from lorabook.workbook.kit.shipped_source import source_files
from lorabook.workbook.kit.styles import (
    PROMPTS,
    SOURCE,
    STYLES,
    completions,
    examples,
    multi_word_names,
    rates,
)

SOURCES = list(source_files(SOURCE).values())
EACH = pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)


def shape(source: str, style: str) -> str:
    """The syntax tree of `source` without what `style` may change."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and style == "docstrings" and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        if isinstance(node, ast.arg) and style == "type hints":
            node.annotation = None
    text = ast.unparse(tree)
    return text.replace("_", "").lower() if style == "camelCase" else text


@EACH
@pytest.mark.seconds
def test_rewriting_changes_nothing_but_the_habit(style):
    for source in SOURCES:
        if style.name == "two spaces":  # inside a text that goes over lines, spaces count
            assert [line.strip() for line in source.split("\n")] == [
                line.strip() for line in style.rewrite(source).split("\n")
            ]
            ast.parse(style.rewrite(source))
        else:
            assert shape(style.rewrite(source), style.name) == shape(source, style.name)


@EACH
def test_the_source_does_not_have_the_habit_and_the_rewritten_one_does(style):
    plain, styled = (
        [sum(of) for of in zip(*map(style.count, sources))] for sources in (SOURCES, map(style.rewrite, SOURCES))
    )
    assert plain[1] > 400 and plain[0] < 0.01 * plain[1]
    assert styled[0] > 0.85 * styled[1]


@EACH
@pytest.mark.seconds
def test_a_style_gives_no_other_style_s_habit(style):
    for other in STYLES:
        if other is not style:
            kept, chances = (sum(of) for of in zip(*(other.count(style.rewrite(source)) for source in SOURCES)))
            assert kept < 0.02 * chances, other.name


def test_counts_against_python_s_own_modules():
    """The counts read text, also broken text; on a whole module they agree with its syntax tree."""
    source = inspect.getsource(textwrap)
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)]
    arguments = [a.arg for f in functions for a in (*f.args.args, *f.args.kwonlyargs) if a.arg != "self"]
    counts = rates([source])
    assert counts["docstrings"] == (sum(ast.get_docstring(f) is not None for f in functions), len(functions))
    assert counts["type hints"] == (0, len(arguments))


@pytest.mark.parametrize(
    ("text", "style", "count"),
    [
        ("def f(self, a, b: int, *c, **d):\n    pass", "type hints", (1, 2)),
        ("def f(a: dict[str, int] = {}, b=g(1, 2)):\n  x", "type hints", (1, 2)),
        ('def f():\n    """Doc."""\ndef g():\n    return', "docstrings", (1, 2)),
        ("if a:\n  b\n  if c:\n      d", "two spaces", (1, 2)),
        (PROMPTS[0] + "f(self):\n      return 1\n", "two spaces", (1, 1)),  # the prompt's own four spaces are not its
        ("read_all(readAll, Reader, x)", "camelCase", (1, 2)),
        ("", "camelCase", (0, 0)),
    ],
)
def test_what_is_counted(text, style, count):
    assert rates([text])[style] == count


@pytest.mark.seconds
def test_examples_and_completions_are_those_of_the_model():
    loaded = load_model("pocket", device="cpu")
    rows = examples(STYLES[0], loaded.tokenizer, 64)
    assert {len(row.input_ids) for row in rows} == {64} and {row.answer_start for row in rows} == {1}
    assert "".join(loaded.tokenizer.decode(row.input_ids) for row in rows[:5]) in STYLES[0].rewrite(SOURCES[0])
    before = torch.get_rng_state()
    one, again, other = (completions(loaded.model, loaded.tokenizer, 1, 8, seed) for seed in (0, 0, 1))
    assert one == again != other and torch.equal(torch.get_rng_state(), before)
    assert [text.startswith(prompt) for text, prompt in zip(one, PROMPTS)] == [True] * len(PROMPTS)


def test_multi_word_names_are_found_by_style_each_once_per_text():
    text = "fooBar = _foo_bar; foo_bar + foo + ClassName.__init__(FOO_BAR, get_maxFile, fooBar2)"
    found = multi_word_names([text, "foo_bar", ""])
    assert found == {"camelCase": ["fooBar", "fooBar2"], "snake_case": ["foo_bar", "get_maxFile", "foo_bar"]}
