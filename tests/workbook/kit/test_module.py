"""The ES modules: their files put together stand alone, and each is there once."""

import re
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from lorabook.workbook.kit.module import inlined
from scripts.checks.explorer_vectors import NODE

WORKBOOK = Path(str(files("lorabook").joinpath("workbook")))
MODULES = sorted(path.relative_to(WORKBOOK).as_posix() for path in WORKBOOK.rglob("*.js"))


def test_every_file_is_in_some_module():
    rooms = [path for path in MODULES if path.endswith("/explorer.js")]
    together = "".join(inlined("kit/frame.js", path) for path in rooms)
    assert len(rooms) == 8
    for path in MODULES:
        first = (WORKBOOK / path).read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith(("// ", "/** ")) and first in together, path


@pytest.mark.parametrize("path", [path for path in MODULES if path.endswith("/explorer.js")])
def test_a_module_stands_alone(path):
    """Names at the top would collide, and node would say so, had two files the same."""
    text = inlined("kit/frame.js", path)
    assert not re.search(r"^(import|export)\b", text, re.MULTILINE)
    assert text.count("export") == 0 and text.count("const STYLE") == 1
    done = subprocess.run([str(NODE), "--check", "--input-type=module"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", MODULES)
def test_imports_in_node_are_those_of_the_files(path):
    """The files as they are, not put together, are modules too: every name that one imports, another exports."""
    source = f"import {(WORKBOOK / path).as_uri()!r};"
    done = subprocess.run([str(NODE), "--input-type=module", "--eval", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
