"""The project as a whole: its dependencies, what the Makefile promises, what a committed notebook may hold."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lorabook
from scripts.checks.mutants import MUTANTS
from tests.kit.imports import imported
from tests.kit.notebooks import NOTEBOOKS, PAGES, ROOT, cells
from tests.notebooks.checks import CHECKS, checked

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LIBRARY = sorted((ROOT / "lorabook").rglob("*.py"))


def under(names: set[str], *packages: str) -> set[str]:
    return {name for name in names if any(f"{name}.".startswith(f"{package}.") for package in packages)}


# Dependencies


def test_binder_installs_what_pyproject_names():
    lines = (ROOT / ".binder/requirements.txt").read_text().splitlines()
    assert [line for line in lines if line[0] not in "#-"] == PROJECT["dependencies"] + EXTRAS["lab"]
    assert "pip install --no-deps ." in (ROOT / ".binder/postBuild").read_text()
    assert os.access(ROOT / ".binder/postBuild", os.X_OK)


def test_conda_takes_its_bounds_from_pyproject():
    text = (ROOT / "environment.yml").read_text()
    (torch,) = [r for r in PROJECT["dependencies"] if r.startswith("torch")]
    assert f"- python{PROJECT['requires-python']}\n" in text and f"- py{torch}\n" in text
    assert "- --editable .[lab]\n" in text


def test_dependencies_have_lower_bounds_only():
    requirements = [Requirement(r) for group in (PROJECT["dependencies"], *EXTRAS.values()) for r in group]
    for requirement in requirements:
        operators = {specifier.operator for specifier in requirement.specifier}
        assert ">=" in operators and operators <= {">=", "!="}, f"{requirement}: a lower bound, and nothing else"
        assert "+" not in str(requirement) and requirement.url is None, f"{requirement}: no build of one machine"


@pytest.mark.seconds
def test_every_import_is_a_declared_dependency():
    requirements = PROJECT["dependencies"] + EXTRAS["quantized"] + EXTRAS["gguf"]
    declared = {canonicalize_name(Requirement(r).name) for r in requirements}
    homes = packages_distributions()
    ours = {"lorabook", "google", "kaggle_secrets"}  # the last two exist on Colab and Kaggle only
    tops = {name.split(".")[0] for path in LIBRARY for name in imported(path.read_text())}
    others = tops - sys.stdlib_module_names - ours
    undeclared = {top for top in others if not declared & {canonicalize_name(d) for d in homes.get(top, [top])}}
    assert undeclared == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of a copy with an asset two folders down, and with what a reader leaves among the notebooks."""
    copy = tmp_path_factory.mktemp("project")
    for name in ("lorabook", "notebooks"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "runs", ".ipynb*"))
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, copy)
    for name in ("lorabook/assets/one/two/three.txt", "notebooks/runs/adapter.bin", "notebooks/.ipynb_checkpoints/x"):
        (copy / name).parent.mkdir(parents=True)
        (copy / name).write_text("here")
    build = "from hatchling.build import build_wheel; build_wheel('.')"
    done = subprocess.run([sys.executable, "-W", "error", "-c", build], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return next(copy.glob("*.whl"))


@pytest.mark.seconds
def test_wheel_holds_every_module_asset_and_notebook_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("lorabook/")}
        entry_points = archive.read(f"lorabook-{lorabook.__version__}.dist-info/entry_points.txt").decode()
    copy = wheel.parent
    modules = {p.relative_to(copy).as_posix() for p in (copy / "lorabook").rglob("*") if p.is_file()}
    assert packed == modules | {f"lorabook/notebooks/{path.name}" for path in PAGES}
    assert "lorabook = lorabook.cli:main" in entry_points


@pytest.mark.seconds
def test_what_a_wheel_unpacks_to_writes_its_notebooks(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    command = [sys.executable, "-m", "lorabook", "workbook", "mine"]
    place = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    subprocess.run(command, cwd=tmp_path, env=place, check=True, capture_output=True)
    assert {p.name for p in (tmp_path / "mine").iterdir()} == {p.name for p in PAGES}


@pytest.mark.seconds
def test_notebooks_import_only_what_a_plain_install_brings():
    declared = {canonicalize_name(Requirement(r).name) for r in PROJECT["dependencies"]}
    homes, found = packages_distributions(), set()
    for path in NOTEBOOKS:
        for cell in cells(path):
            if cell["cell_type"] == "code":
                source = re.sub(r"^(\s*)[%!].*$", r"\1pass", cell["source"], flags=re.MULTILINE)
                # At the top of a cell alone: PEFT and loralib stand behind an if, which says how to get them.
                nodes = [n for n in ast.parse(source).body if isinstance(n, ast.Import | ast.ImportFrom)]
                always = "\n".join(map(ast.unparse, nodes))
                tops = {name.split(".")[0] for name in imported(always)} - sys.stdlib_module_names - {"lorabook"}
                found |= {top for top in tops if not declared & {canonicalize_name(d) for d in homes.get(top, [top])}}
    assert found == set()


def test_import_lorabook_is_light():
    code = "import sys, lorabook; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    heavy = {"torch", "transformers", "datasets", "matplotlib", "ipywidgets", "peft", "bitsandbytes"}
    assert "lorabook" in loaded.split() and heavy.isdisjoint(loaded.split())


# Files


@pytest.mark.seconds
def test_nothing_runs_code_from_a_download():
    pickles = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    found = []
    for path in LIBRARY:
        source, place = path.read_text(), str(path.relative_to(ROOT))
        found += [f"{place} imports {name}" for name in under(imported(source), "torch.load", *pickles)]
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.load":
                found.append(f"{place}:{node.lineno}")
            risky = isinstance(node, ast.keyword) and node.arg in {"trust_remote_code", "allow_pickle"}
            if risky and ast.unparse(node.value) != "False":
                found.append(f"{place}:{node.value.lineno}: {node.arg}")
    assert found == []


def test_every_mutant_still_finds_its_line():
    for m in MUTANTS:
        text = (ROOT / "lorabook" / m.file).read_text()
        assert text.count(m.old) == 1, m.name
        compile(text.replace(m.old, m.new), m.name, "exec")


# Makefile and .ci/run


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_target_that_is_named_exists():
    for name in ("CONTRIBUTING.md", "README.md"):
        named = set(re.findall(r"`make (?:[A-Z]+=\S+ )?([a-z]+)", (ROOT / name).read_text()))
        assert named <= targets(), name
    assert {"run", "test", "check", "lab", "bench", "notebooks"} <= targets()


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_alone_lists_every_target():
    shown = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert set(re.findall(r"^make ([a-z]+) ", shown, re.MULTILINE)) == targets()


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_says_what_is_missing(tmp_path):
    old = tmp_path / "python3"  # a Python that is too old: whatever it is asked, it says no
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command, path = [str(shutil.which("make")), "run"], {"PATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=path, capture_output=True, text=True)
    assert done.returncode != 0 and "Python 3.11 or newer with venv is needed" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_readme_s_lines_without_make_are_those_of_make():
    makefile = (ROOT / "Makefile").read_text()
    (block,) = re.findall(r"Without make.*?```bash\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    flags = re.findall(r"--nbval\S*(?: (?!-)\S+)?", makefile)
    lint = [line.replace("$(BIN)", ".venv/bin") for line in re.findall(r"\$\(BIN\)/(?:ruff|pyright).*", makefile)]
    exports = re.findall(r"^(?:run test|test).*: export (\w+) :=", makefile, re.MULTILINE)
    assert len(flags) == 4 and len(lint) == 3 and len(exports) == 3
    assert [part for part in (*flags, *lint, *(f"{name}=" for name in exports)) if part not in block] == []


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_ci_script_is_sound():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert "export LORABOOK_REQUIRE_BROWSER=1" in script.read_text()


# Notebooks


def sanitised(text: str) -> str:
    from nbval.plugin import get_sanitize_patterns

    patterns = get_sanitize_patterns((ROOT / "tests/notebooks/nbval_sanitize.cfg").read_text())
    assert len(patterns) == 5
    for pattern, replacement in patterns:
        text = re.sub(pattern, replacement, text)
    return text


def test_sanitising_forgives_the_clock_and_nothing_else():
    assert sanitised("12.3 s at 1,234 tokens/s") == sanitised("250 ms at 98.5 tokens/s") == "DURATION at RATE"
    assert sanitised("<lorabook.X at 0x7f3a9c0012d0>") == "<lorabook.X at ADDRESS>"
    assert sanitised("saved to /tmp/tmpab12/x.json") == sanitised("saved to /var/folders/zz/T/x.json")
    assert sanitised(" 40%|████      | 2/5 [00:01<00:02, 1.9it/s]") == " PROGRESS"
    kept = "loss 3.36 → 2.91, r = 8, 98,304 trainable parameters, 7.4 MiB, 5 samples, 3 steps, ΔW 1e-3 smaller"
    assert sanitised(kept) == kept


def faults(notebook: dict) -> list[str]:
    """What is wrong with a committed notebook, one line a fault."""
    found, cells = [], notebook["cells"]
    if notebook["metadata"].keys() - {"kernelspec", "language_info"}:
        found.append("notebook metadata beyond kernelspec and language_info (widget state, names of people)")
    if notebook["metadata"].get("kernelspec", {}).get("name") != "python3":
        found.append("kernelspec is not python3")
    if cells[0]["cell_type"] != "markdown":
        found.append("cell 0 is not Markdown")
    for index, cell in enumerate(cells):
        if cell["metadata"].keys() - {"tags"}:
            found.append(f"cell {index}: metadata beyond tags")
        if cell["cell_type"] != "code":
            continue
        if len("".join(cell["source"]).splitlines()) > 25:
            found.append(f"cell {index}: more than 25 lines")
        if cell["execution_count"] is None:
            found.append(f"cell {index}: not executed")
        if any(output["output_type"] == "error" for output in cell["outputs"]):
            found.append(f"cell {index}: an error among the outputs")
        if any(output.get("name") == "stderr" for output in cell["outputs"]):
            found.append(f"cell {index}: output on stderr")
    return found


def test_faults_are_found():
    def code(**changes) -> dict:
        whole = {"cell_type": "code", "metadata": {}, "source": ["1 + 1"], "execution_count": 1, "outputs": []}
        return whole | changes

    metadata = {"kernelspec": {"name": "python3"}, "language_info": {}}
    title = {"cell_type": "markdown", "metadata": {}, "source": ["# Title"]}
    assert faults({"metadata": metadata, "cells": [title, code(metadata={"tags": ["exercise"]})]}) == []
    bad = [
        code(metadata={"executionInfo": {"user": {}}}),
        code(source=["x = 1\n"] * 26),
        code(execution_count=None),
        code(outputs=[{"output_type": "error"}]),
        code(outputs=[{"output_type": "stream", "name": "stderr"}]),
    ]
    assert len(faults({"metadata": metadata | {"widgets": {}}, "cells": bad})) == 2 + len(bad)
    assert len(faults({"metadata": {}, "cells": [title]})) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_cell_whose_output_nbval_ignores_is_checked(path):
    """With the cell or with the next one; `recover` without a fix checks itself."""
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    texts = [checked(path.stem, cell["id"], cell["source"]) for cell in code]
    assert CHECKS.get(path.stem, {}).keys() <= {cell["id"] for cell in code}
    tags = [cell["metadata"].get("tags", []) for cell in code]
    check = re.compile(r"^\s*assert |^recover\(\d, fix=None\)", re.MULTILINE)
    found = [
        here
        for here, after, tagged in zip(texts, [*texts[1:], ""], tags)
        if ("NBVAL_IGNORE_OUTPUT" in here or "nbval-ignore-output" in tagged)
        and not check.search(here)
        and not check.search(after)
    ]
    assert found == []


def test_the_final_notebook_exists():
    assert "09_finetune_starcoder.ipynb" in [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebook_is_clean(path):
    assert faults(json.loads(path.read_text())) == []


def test_the_readme_s_library_example_runs(capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    assert "trainable parameters: 233,472 of 4,112,128" in capsys.readouterr().out
