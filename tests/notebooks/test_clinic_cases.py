"""Notebook 08: whoever looks up a case runs "A healthy run" first, and nothing else."""

import ast
import builtins
import re

import pytest
import torch

from tests.kit.notebooks import NOTEBOOKS, cells, plain

SETUP = "A healthy run"


def code_by_section() -> dict[str, str]:
    """The code below each heading."""
    found: dict[str, str] = {}
    section = ""
    for cell in cells(NOTEBOOKS[8]):
        if cell["cell_type"] == "markdown":
            for heading in re.findall(r"^##+ (.+)$", cell["source"], re.MULTILINE):
                section = plain(heading)
        elif section:
            found[section] = found.get(section, "") + cell["source"] + "\n"
    return found


def names(code: str) -> tuple[set[str], set[str]]:
    """The names that the code binds, and those that it reads."""
    bound, read = set(), set()
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                read.add(name)
            case ast.Name(id=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                bound.add(name)
            case ast.alias(name=name, asname=other):
                bound.add(other or name.split(".")[0])
    return bound, read


CODE = code_by_section()
CASES = [section for section in CODE if re.search(r"[Cc]ases? \d", section)]


def test_there_are_ten_cases():
    numbers = []
    for case in CASES:
        first, last = re.search(r"[Cc]ases? (\d+)(?: to (\d+))?", case).groups()
        numbers += range(int(first), int(last or first) + 1)
    assert numbers == list(range(1, 11))


@pytest.mark.parametrize("case", CASES)
def test_a_case_needs_the_healthy_run_and_nothing_else(case):
    known, _ = names(CODE[SETUP])
    bound, read = names(CODE[case])
    assert read - bound - known - set(dir(builtins)) == set()


def test_what_fp16_rounds_to_zero():
    """The page's figures: the smallest number, where rounding to zero ends, and which gradients survive."""
    assert torch.finfo(torch.float16).smallest_normal / 2**10 == pytest.approx(6e-8, rel=0.01)
    rounded = torch.tensor([2.9e-8, 3e-8, 1e-8, 0.001 * 0.0008**2, 0.001 * 0.0053**2, 0.001 * 0.0056**2]).half()
    assert (rounded > 0).tolist() == [False, True, False, False, False, True]
    in_bf16 = torch.tensor([1e-8, 0.001 * 0.0008**2]).bfloat16()
    assert in_bf16.tolist() == pytest.approx([1e-8, 6.4e-10], rel=0.01)
