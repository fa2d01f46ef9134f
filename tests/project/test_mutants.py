"""The mutation run: which mutants there are, how they are drawn, and that tests which notice are told from others."""

import json
import subprocess
import sys

import pytest

from scripts.checks import mutate, mutation_runner
from scripts.checks.mutants import MUTANTS
from scripts.checks.mutation_operators import Mutant, mutants
from scripts.checks.mutation_runner import MORE_TESTS, ROOT


def changes(source: str) -> set[str]:
    return {m.new for m in mutants(source)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b", {"x = a <= b"}),
        ("x = a is not b", {"x = a is b"}),
        ("x = a not in b", {"x = a in b"}),
        ("x = a < b == c", {"x = a <= b == c", "x = a < b != c"}),
        ("x = a // b", {"x = a * b"}),
        ("x = a @ b", {"x = (b) @ (a)"}),
        ("x = 'é' + a", {"x = 'é' - a"}),  # columns count bytes
        ("a += b", {"a -= b", "pass"}),
        ("x = a and b and c", {"x = a or b and c", "x = a and b or c"}),
        ("x = 3", {"x = 4", "x = 2"}),
        ("x = True", {"x = False"}),
        ("x = -y", {"x = (y)"}),
        ("x = not y", {"x = (y)"}),
        ("x = a if b else c", {"x = a if not (b) else c"}),
        ("x = a if b == c else d", {"x = a if b != c else d"}),
        ("x = a[b:c]", {"x = a[:c]", "x = a[b:]"}),
        ("f(a, b)", {"f(b, a)", "pass"}),
        ("x = f(a, *b, c=d)", {"x = f(a, *b)"}),
        ("x = f(c=d, e=g)", {"x = f(e=g)", "x = f(c=d)"}),
        ("x = max(a, b)", set()),
        ("x = [a for a in b if c]", {"x = [a for a in b if not (c)]"}),
        ("with f():\n    x = y", {'with __import__("contextlib").nullcontext():'}),
        ("while a:\n    break", {"while not (a):", "continue"}),
        ("@g\ndef f():\n    return x", {"", "return None"}),
        ("def f(x):\n    x = y\n    z = y\n    x.a = y", {"pass"}),  # not `z = y`: without it no use of z would work
        ("class A:\n    b: int = 1", {"b: int = 2", "b: int = 0"}),
    ],
)
def test_every_operator(source, expected):
    assert changes(source) == expected
    assert all(m.source != source and compile(m.source, "mutant", "exec") for m in mutants(source))


@pytest.mark.parametrize(
    "source",
    [
        '"""One and 1."""',
        "def f(x: 'Literal[1]') -> 'tuple[2]':\n    '''Not 3.'''",
        "x = f'{a + 1:>3}'",
        "class A:\n    def __repr__(self):\n        return 1\n    def extra_repr(self):\n        return 2",
        "import a, b",
    ],
)
def test_texts_and_hints_stay(source):
    assert changes(source) == set()


def test_an_error_goes_but_its_text_stays():
    assert changes("raise ValueError(f(1, 2), x=3)") == {"pass"}
    assert changes("warnings.warn(f(1, 2), stacklevel=3)") == {"pass", "warnings.warn(f(1, 2))"}


def test_a_mutant_says_where_it_is():
    source = "class A:\n    @g(0)\n    def f(self):\n        return (1 +\n            2)\n"
    (mutant,) = (m for m in mutants(source) if m.operator == "arithmetic")
    assert (mutant.where, mutant.first, mutant.line) == ("A.f", 2, 4)
    assert (mutant.old, mutant.new) == ("return (1 +", "return (1 -")


# The sample


def found() -> dict[str, list[Mutant]]:
    text = "x = f(a + b < c, {n}, -y)\n"
    return {f"{k}.py": mutants("".join(text.format(n=n) for n in range(k))) for k in (2, 5, 30)}


def test_the_sample_is_in_proportion_and_the_seed_s_own():
    everything = found()
    total = sum(map(len, everything.values()))
    drawn = mutate.draw(everything, 40, seed=1)
    assert len(drawn) == len({(file, m) for file, m in drawn}) == 40
    for file, of_file in everything.items():
        assert abs(sum(f == file for f, _ in drawn) - 40 * len(of_file) / total) < 1
    assert drawn == mutate.draw(found(), 40, seed=1) != mutate.draw(everything, 40, seed=2)
    assert len(mutate.draw(everything, 10**6, seed=1)) == total


def test_an_edit_in_one_place_draws_the_same_mutants_elsewhere():
    before = found()["30.py"]
    after = mutants("z = 1\n" + "".join(f"x = f(a + b < c, {n}, -y)\n" for n in range(30)))
    old, new = ({m.new for _, m in mutate.draw({"a.py": some}, 30, seed=0)} for some in (before, after))
    assert len(old & new) >= len(old) - 3


@pytest.mark.slow
def test_what_was_reviewed_is_still_there():
    entries = mutate.reviewed()
    files = {file for file, *_ in entries}
    there = {mutate.key(f, m) for f in files for m in mutants((ROOT / "lorabook" / f).read_text("utf-8"))}
    assert [entry for entry in entries if entry not in there] == []
    assert all(why.endswith(".") for why in entries.values())


# The tests that a file's mutants meet


def test_the_tests_of_a_file_bear_its_name_or_are_those_of_its_room():
    assert mutation_runner.tests_of("step/loss.py") == ("step/test_loss.py", "step/test_loss_check.py")
    assert {"test_lora.py", "test_lora_parity.py", "test_merging.py"} < {*mutation_runner.tests_of("lora.py")}
    room = {f"step/{path.name}" for path in (ROOT / "tests/step").glob("test_*.py")}
    assert {*mutation_runner.tests_of("step/optimizer.py")} == room | {*MORE_TESTS["step/optimizer.py"]}
    broken = {*mutate.FILES, *(m.file for m in MUTANTS), *MORE_TESTS}
    assert [file for file in broken if not (ROOT / "lorabook" / file).is_file()] == []
    met = {test for file in broken for test in mutation_runner.tests_of(file)}
    assert [test for test in met if not (ROOT / "tests" / test).is_file()] == []


# The run

TOY = """
def larger(a, b):
    return a if a > b else b

def even(n):
    k = 0
    while k < n:
        k += 2
    return k
"""
TOY_TESTS = """
from lorabook.toy import even, larger

def test_even():
    assert even(3) == even(4) == 4

def test_larger():
    assert larger(2, 1) == larger(1, 2) == 2
"""
ELSEWHERE = """
from lorabook.toy import larger

def test_that_the_named_file_lacks():
    assert larger(-5, -7) == -5
"""
RUN = """
import json
import sys
from pathlib import Path
from scripts.checks import mutation_runner as runner
from scripts.checks.mutation_operators import mutants

runner.ROOT, runner.FOLDERS, runner.WARM, runner.GRACE = Path(sys.argv[1]), ("lorabook", "tests"), (), 1
toy = (runner.ROOT / "lorabook/toy.py").read_text()
jobs = [runner.Job(m.new, "toy.py", m.source, m.first, ("test_toy.py",)) for m in mutants(toy)]
jobs.append(runner.Job("elsewhere", "toy.py", toy.replace("a > b", "a > b and a > -4"), 2, ("test_toy.py",)))
runner.warm()
known = runner.survey(["test_toy.py", "test_elsewhere.py"], 2)
print(json.dumps({job.name: verdict.by for job, verdict in runner.judge(jobs, known, 2)}))
"""


@pytest.mark.slow
def test_a_mutant_is_killed_by_the_test_that_notices_and_by_time(tmp_path):
    for name, text in {
        "lorabook/__init__.py": "",
        "lorabook/toy.py": TOY,
        "tests/test_toy.py": TOY_TESTS,
        "tests/test_elsewhere.py": ELSEWHERE,
        "pyproject.toml": '[tool.pytest.ini_options]\nmarkers = ["slow", "browser", "hub"]\n',
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    by = json.loads(done.stdout.splitlines()[-1])
    assert by["return a if a >= b else b"] is None, "equal arguments: no test can tell"
    assert by["return a if not (a > b) else b"] == "tests/test_toy.py::test_larger"
    assert by["while k <= n:"] == "tests/test_toy.py::test_even"
    assert by["k -= 2"] == "time"
    assert by["elsewhere"] == "tests/test_elsewhere.py::test_that_the_named_file_lacks"
    assert [name for name, killer in by.items() if not killer] == ["return a if a >= b else b"]
    assert (tmp_path / "lorabook/toy.py").read_text() == TOY


@pytest.mark.slow
def test_three_mutants_of_merging_are_killed():
    options = ["--file", "merging.py", "--sample", "3", "--named", "--workers", "1"]
    command = [sys.executable, "-m", "scripts.checks.mutate", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert "3 of 3 killed (100.0%), seed 0" in done.stdout, done.stdout + done.stderr
