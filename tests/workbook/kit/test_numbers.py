"""Numbers in JavaScript, held to what Python's format() writes."""

import json
import random
import subprocess

from lorabook.sizes import size_text, unit_of
from lorabook.workbook.kit.module import inlined
from scripts.checks.explorer_vectors import NODE


def in_node(expressions: list[str]) -> list:
    source = f"{inlined('kit/numbers.js')}\nconsole.log(JSON.stringify([{','.join(expressions)}]));"
    done = subprocess.run([str(NODE), "--input-type=module"], input=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def values(count: int) -> list[float]:
    """Values over many magnitudes; every second one lies halfway between two decimals, where rounding goes to even."""
    draw = random.Random(0)
    halves = [draw.randrange(1, 2**14, 2) / 2 ** draw.randint(1, 6) for _ in range(count // 2)]
    return [0.0, *halves, *(10 ** draw.uniform(-3, 6) for _ in range(count // 2))]


def test_fixed_is_python_s_f():
    cases = [(value, digits) for value in values(2000) for digits in (0, 1, 2, 4)]
    assert in_node([f"fixed({v!r},{d})" for v, d in cases]) == [f"{v:.{d}f}" for v, d in cases]
    assert in_node([f"rounded({v!r})" for v in values(2000)]) == [f"{v:,.0f}" for v in values(2000)]


def test_general_is_python_s_g():
    cases = [(v, digits) for v in values(4000) for digits in (3, 4) if v < 10**digits * 0.9995 and (v > 1e-4 or not v)]
    assert len(cases) > 3000
    assert in_node([f"general({v!r},{d})" for v, d in cases]) == [f"{v:.{d}g}" for v, d in cases]


def test_grouped_has_python_s_commas():
    cases = [0, 7, 999, 1000, 12345, 10**6, 123456789, 2**53 - 1]
    assert in_node([f"grouped({n})" for n in cases]) == [f"{n:,}" for n in cases]


def test_sizes_are_those_of_python():
    draw = random.Random(1)
    cases = [int(2 ** draw.uniform(0, 52)) for _ in range(2000)] + [n * 2**27 + 2**26 for n in range(400)]
    assert in_node([f"sizeText({n})" for n in cases]) == [size_text(n) for n in cases]
    assert in_node([f"unitOf({n})" for n in cases]) == [list(unit_of(n)) for n in cases]
