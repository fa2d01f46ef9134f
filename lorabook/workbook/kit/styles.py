"""Visible habits of code that a small adapter learns in a minute.

Each is a rewriting of ordinary Python, which makes the data, beside a count of how often a text keeps the habit. The
source is that of `assets/heldout_source.txt`, which the pocket model never saw.
"""

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "assets" / "heldout_source.txt"
FILE = "==== file: "  # starts the line before each file

SNAKE = re.compile(r"\b[a-z]+(?:_[a-z0-9]+)+\b")
CAMEL = re.compile(r"\b[a-z]+(?:[A-Z][a-z0-9]+)+\b")
HEADER = re.compile(r"\bdef \w+\(((?:[^()]|\([^()]*\))*)\)[^:\n]*:[ \t]*\n[ \t]*(\S*)")


@cache
def source_files() -> dict[str, str]:
    """The files by name."""
    _, *files = SOURCE.read_text(encoding="utf-8").split(f"\n{FILE}")
    return {name: text for name, _, text in (file.partition("\n") for file in files)}


def camel_case(source: str) -> str:
    """`source` with every name_like_this written nameLikeThis."""
    return SNAKE.sub(lambda name: re.sub(r"_([a-z0-9])", lambda letter: letter[1].upper(), name[0]), source)


def count_camel_case(text: str) -> tuple[int, int]:
    camel = len(CAMEL.findall(text))
    return camel, camel + len(SNAKE.findall(text))


def docstrings(source: str) -> str:
    """`source` with a docstring, made from its name, in every function that has none."""
    lines = source.split("\n")
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    for function in sorted(functions, key=lambda node: -node.body[0].lineno):
        first = function.body[0]
        start = first.decorator_list[0].lineno if getattr(first, "decorator_list", None) else first.lineno
        alone = not lines[start - 1][: first.col_offset].strip()
        if ast.get_docstring(function) is None and alone:
            words = function.name.strip("_").replace("_", " ").capitalize()
            lines.insert(start - 1, f'{" " * first.col_offset}"""{words}."""')
    return "\n".join(lines)


def count_docstrings(text: str) -> tuple[int, int]:
    firsts = [first for _, first in HEADER.findall(text)]
    return sum(first.startswith(('"""', "'''", 'r"""')) for first in firsts), len(firsts)


def type_hints(source: str) -> str:
    """`source` with every argument annotated: by the type of its default, or else as Any."""
    lines = source.split("\n")
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args]
            defaults = [None] * (len(arguments) - len(node.args.defaults)) + node.args.defaults
            pairs = [*zip(arguments, defaults), *zip(node.args.kwonlyargs, node.args.kw_defaults)]
            found += [(a, d) for a, d in pairs if a.annotation is None and a.arg not in ("self", "cls")]
    for argument, default in sorted(found, key=lambda pair: (-pair[0].lineno, -pair[0].col_offset)):
        line, end = lines[argument.lineno - 1].encode(), argument.end_col_offset
        kind = type(default.value).__name__ if isinstance(default, ast.Constant) and default.value is not None else "Any"
        rest = re.sub(r"^=(?=\S)", " = ", line[end:].decode())
        lines[argument.lineno - 1] = f"{line[:end].decode()}: {kind}{rest}"
    return "\n".join(lines)


def count_type_hints(text: str) -> tuple[int, int]:
    arguments = [a.strip() for inside, _ in HEADER.findall(text) for a in re.split(r",(?![^\[(]*[\])])", inside)]
    arguments = [a for a in arguments if re.match(r"\w", a) and a not in ("self", "cls")]
    return sum(":" in a for a in arguments), len(arguments)


def two_spaces(source: str) -> str:
    """`source` with two spaces in place of four."""
    return re.sub(r"^(?: {4})+", lambda spaces: spaces[0][::2], source, flags=re.MULTILINE)


def count_two_spaces(text: str) -> tuple[int, int]:
    """Steps to the right between two lines: those of two spaces, and all."""
    indents = [len(line) - len(line.lstrip(" ")) for line in text.split("\n") if line.strip()]
    steps = [after - before for before, after in zip(indents, indents[1:]) if after > before]
    return sum(step == 2 for step in steps), len(steps)


def double_quotes(source: str) -> str:
    """`source` with 'text' written "text"."""
    return re.sub(r"(?<!['\w])'([^'\"\\\n]*)'(?!')", r'"\1"', source)


def single_quotes(source: str) -> str:
    """`source` with "text" written 'text'."""
    return re.sub(r'(?<!["\w])"([^"\'\\\n]*)"(?!")', r"'\1'", source)


def count_single_quotes(text: str) -> tuple[int, int]:
    single = len(re.findall(r"(?<!['\w])'[^'\"\\\n]*'(?!')", text))
    return single, single + len(re.findall(r'(?<!["\w])"[^"\'\\\n]*"(?!")', text))


@dataclass(frozen=True)
class Style:
    """A habit: `rewrite` gives it to Python source, `count` how often a text keeps it, and how often it could."""

    name: str
    rewrite: Callable[[str], str]
    count: Callable[[str], tuple[int, int]]


STYLES = (
    Style("camelCase", camel_case, count_camel_case),
    Style("docstrings", docstrings, count_docstrings),
    Style("type hints", type_hints, count_type_hints),
    Style("two spaces", two_spaces, count_two_spaces),
    Style("single quotes", single_quotes, count_single_quotes),
)
