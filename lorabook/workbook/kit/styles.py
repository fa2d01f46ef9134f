"""Visible habits of code that a small adapter learns in a minute.

Each is a rewriting of ordinary Python, which makes the data, beside a count of how often a text keeps the habit. The
source is `assets/styles/source.txt`: modules of Python's standard library, which keep none of these habits.
"""

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch

from lorabook.data.examples import Example, tokenize
from lorabook.threads import fastest_threads
from lorabook.workbook.kit.shipped_source import ASSETS, source_files

SOURCE = ASSETS / "styles" / "source.txt"

SNAKE = re.compile(r"(?<![A-Za-z0-9])[a-z]+(?:_[a-z0-9]+)+\b")  # after a leading underscore too
CAMEL = re.compile(r"(?<![A-Za-z0-9])[a-z]+(?:[A-Z][a-z0-9]+)+\b")
HEADER = re.compile(r"\bdef \w+\(((?:[^()]|\([^()]*\))*)\)[^:\n]*:[ \t]*\n[ \t]*(\S*)")


# What an argument of this name usually is.
USUAL = {
    "str": ("name", "text", "line", "path", "filename", "prefix", "suffix", "key", "option", "section", "msg", "url"),
    "int": ("index", "count", "width", "level", "indent", "start", "end", "size", "depth", "length"),
    "list": ("args", "names", "items", "values", "lines", "options", "actions", "groups", "arg_strings"),
    "dict": ("kwargs", "defaults", "mapping", "vars"),
}
KINDS = {name: kind for kind, names in USUAL.items() for name in names}


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
        decorated = isinstance(first, ast.FunctionDef | ast.ClassDef) and first.decorator_list
        start = decorated[0].lineno if decorated else first.lineno
        alone = not lines[start - 1][: first.col_offset].strip()
        if ast.get_docstring(function) is None and alone:
            words = function.name.strip("_").replace("_", " ").capitalize()
            lines.insert(start - 1, f'{" " * first.col_offset}"""{words}."""')
    return "\n".join(lines)


def count_docstrings(text: str) -> tuple[int, int]:
    firsts = [first for _, first in HEADER.findall(text)]
    return sum(first.startswith(('"""', "'''", 'r"""')) for first in firsts), len(firsts)


def type_hints(source: str) -> str:
    """`source` with every argument annotated: by its default's type, its usual type by name, or object."""
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
        constant = isinstance(default, ast.Constant) and default.value is not None
        kind = type(default.value).__name__ if constant else KINDS.get(argument.arg, "object")
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
    steps = [after - before for before, after in pairwise(indents) if after > before]
    return sum(step == 2 for step in steps), len(steps)


@dataclass(frozen=True)
class Style:
    """A habit: `rewrite` gives it to Python source, `count` how often a text keeps it, and how often it could."""

    name: str
    rewrite: Callable[[str], str]
    count: Callable[[str], tuple[int, int]] = lambda text: (0, 0)


STYLES = (
    Style("camelCase", camel_case, count_camel_case),
    Style("docstrings", docstrings, count_docstrings),
    Style("type hints", type_hints, count_type_hints),
    Style("two spaces", two_spaces, count_two_spaces),
)

CAMEL_CASE, DOCSTRINGS, TYPE_HINTS, TWO_SPACES = STYLES
PLAIN = Style("plain", lambda source: source)  # no habit: a control

# What a completion begins with. No name, docstring, annotation or indented line of its own comes before it.
CLASSES = ("Reader", "Writer", "Counter", "Cache", "Parser", "Stack", "Queue", "Table", "Client", "Server", "Message")
PROMPTS = tuple(f"import os\n\n\nclass {name}(Base):\n    def " for name in CLASSES)


def examples(style: Style, tokenizer, length: int = 128) -> list[Example]:
    """The source in this style, as examples of `length` tokens whose every token but the first is a label."""
    found = []
    for source in source_files(SOURCE).values():
        ids = tokenize(style.rewrite(source), tokenizer)
        found += [Example(tuple(ids[i : i + length]), 1, 0) for i in range(0, len(ids) - length + 1, length)]
    return found


@torch.no_grad()
def completions(model, tokenizer, each: int = 4, new_tokens: int = 120, seed: int = 0) -> list[str]:
    """PROMPTS and what the model writes after them, each `each` times, sampled at temperature 0.7."""
    was, written = model.training, []
    model.eval()
    with torch.random.fork_rng(devices=[]), fastest_threads(model, each):
        torch.manual_seed(seed)
        for prompt in PROMPTS:
            ids = torch.tensor([tokenize(prompt, tokenizer)] * each, device=model.device)
            sampling = {"do_sample": True, "temperature": 0.7, "top_k": 0, "pad_token_id": tokenizer.eos_token_id}
            whole = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens, **sampling)
            written += [tokenizer.decode(row, skip_special_tokens=True) for row in whole]
    model.train(was)
    return written


def multi_word_names(texts: list[str]) -> dict[str, list[str]]:
    """By style, the multi-word names in `texts`, each once per text, in the order of the alphabet within a text.

    An underscore inside makes a name snake_case, unless it is all capitals, a capital inside makes it camelCase.
    """
    found: dict[str, list[str]] = {"camelCase": [], "snake_case": []}
    for text in texts:
        for name in sorted({word.strip("_") for word in re.findall(r"\w+", text)}):
            if "_" in name and not name.isupper():
                found["snake_case"].append(name)
            elif re.fullmatch("[a-z]+[A-Z][A-Za-z0-9]*", name):
                found["camelCase"].append(name)
    return found


def rates(texts: list[str]) -> dict[str, tuple[int, int]]:
    """By style, how often these texts keep it, and how often they could, from their first `def` on.

    So in a completion of PROMPTS, the indent that the prompt begins with does not count.
    """
    own = [re.sub(r"\A.*?(?=^ *def )", "", text, count=1, flags=re.DOTALL | re.MULTILINE) for text in texts]
    counts = {style.name: [style.count(text) for text in own] for style in STYLES}
    return {name: (sum(kept for kept, _ in of), sum(chances for _, chances in of)) for name, of in counts.items()}
