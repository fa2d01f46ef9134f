"""Plain Python source, from which `workbook.kit.styles` makes the data of the style adapters.

    python -m scripts.assets.style_source

Takes modules of the standard library that use snake_case and no annotations, takes their docstrings out, so that a
style adds the one habit that it is about, and writes lorabook/assets/styles/source.txt: Python's licence first, then
the modules, each after a line FILE.
"""

import ast
import sysconfig
from pathlib import Path

from lorabook.workbook.kit.shipped_source import FILE
from lorabook.workbook.kit.styles import SOURCE

MODULES = ("argparse", "configparser", "optparse", "pprint", "shutil", "trace", "webbrowser")
NOTICE = """\
Source code of Python's standard library with its docstrings taken out, to train style adapters on.

Copyright (c) 2001-2023 Python Software Foundation; All Rights Reserved

Used under the PSF License Agreement, version 2: https://docs.python.org/3/license.html
"""


def without_docstrings(source: str) -> str:
    """`source` with the docstrings of its functions, classes and module taken out, and the blank lines after them."""
    lines = source.split("\n")
    drop: set[int] = set()
    tree = ast.parse(source)
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)]
    for node in nodes:
        if ast.get_docstring(node, clean=False) is not None and len(node.body) > 1:
            text = node.body[0]
            end = text.end_lineno or text.lineno
            while end < len(lines) and not lines[end].strip():
                end += 1
            drop |= set(range(text.lineno, end + 1))
    return "\n".join(line for number, line in enumerate(lines, 1) if number not in drop).strip()


def main() -> None:
    folder = Path(sysconfig.get_path("stdlib"))
    files = []
    for name in MODULES:
        plain = without_docstrings((folder / f"{name}.py").read_text(encoding="utf-8"))
        ast.parse(plain)
        files.append(f"{FILE}{name}.py\n{plain}\n")
    SOURCE.parent.mkdir(parents=True, exist_ok=True)
    SOURCE.write_text("\n".join([NOTICE, *files]), encoding="utf-8")
    print(f"{SOURCE}: {SOURCE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
