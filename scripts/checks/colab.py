"""Run every notebook, from its own first cell on, with the package versions that Colab ships.

    python -m scripts.checks.colab [notebooks/01_lora_from_scratch.ipynb ...]

`.venv-colab` gets the versions in tests/notebooks/colab.txt, on Python 3.13 where there is one (COLAB_PYTHON names it),
else on this Python; the first time, PyTorch's usual wheels are fetched, some 3 GB on Linux. Each notebook runs in a
folder with nothing but the wheel of this checkout, beside a stub of `google.colab`, with lorabook not installed: its
first cell then installs the wheel, as for a reader who uploaded both. Nothing may raise, no listed version may change,
and what differs from the stored outputs is shown. Then the explorers are moved in the classic Notebook, which has
ipywidgets 7. The log is build/colab.log; a table of the notebooks ends it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbval.plugin import get_sanitize_patterns
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "tests/notebooks/colab.txt"
VENV, WORK, LOG = ROOT / ".venv-colab", ROOT / "build/colab", ROOT / "build/colab.log"
PYTHON = VENV / "bin/python"
ADDED = {"lorabook", "jedi"}  # what installing lorabook there adds: IPython 7.34 asks for jedi, which Colab took away
PATTERNS = get_sanitize_patterns((ROOT / "tests/notebooks/nbval_sanitize.cfg").read_text())

# After the notebooks: Colab's vault in each of its moods, and an adapter that survives on Drive.
VAULT_AND_DRIVE = """
import os
import shutil
from pathlib import Path
from google.colab import drive, userdata
from lorabook.models.hub import find_token

os.environ.pop("HF_TOKEN", None)
userdata.behaviour = "answers"
assert find_token() == userdata.TOKEN
for userdata.behaviour in ("refuses", "absent", "times out"):
    assert find_token() is None, userdata.behaviour

from lorabook.peft_format import adapter_file
from lorabook.models import load_model

place = Path.cwd() / "drive"
drive.mount(str(place))
shutil.copytree("runs/final", place / "MyDrive/adapter", dirs_exist_ok=True)
drive.flush_and_unmount()
assert not place.exists()
drive.mount(str(place))
assert adapter_file.load(load_model("pocket").model, place / "MyDrive/adapter").trainable > 0
"""


def say(text: str) -> None:
    print(text, flush=True)
    with LOG.open("a") as log:
        log.write(f"{text}\n")


def listed() -> dict[str, str]:
    """Colab's version of each package, by canonical name, without the mark of a build."""
    lines = [line for line in LIST.read_text().splitlines() if line and not line.startswith("#")]
    pairs = [line.split("==") for line in lines]
    return {canonicalize_name(name): version.split("+")[0] for name, version in pairs}


def pip(*arguments: str) -> str:
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def installed() -> dict[str, str]:
    packages = json.loads(pip("list", "--format", "json"))
    return {canonicalize_name(p["name"]): p["version"].split("+")[0] for p in packages}


def find_python() -> str:
    """The Python for the environment: the one that was named, a 3.13, or this one."""
    test = "import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 13))"
    if named := os.environ.get("COLAB_PYTHON"):
        return named
    found = shutil.which("python3.13")
    fits = found and subprocess.run([found, "-c", test], capture_output=True).returncode == 0
    return found if found and fits else sys.executable


def build() -> None:
    """Make `.venv-colab` unless it holds this list already, and say where it departs from the list."""
    stamp = VENV / "colab.txt"
    if not (stamp.exists() and stamp.read_text() == LIST.read_text()):
        python = find_python()
        say(f"building {VENV.name} with {python}: minutes, and on Linux some 3 GB from the package index")
        subprocess.run([python, "-m", "venv", "--clear", VENV], check=True)
        wanted = WORK / "wanted.txt"
        wanted.write_text("".join(f"{name}=={version}\n" for name, version in listed().items()))
        pip("install", f"torch=={listed()['torch']}", "--constraint", str(wanted))  # with CUDA's packages
        pip("install", "--no-deps", "--requirement", str(wanted))  # and with nothing that Colab lacks
        stamp.write_text(LIST.read_text())
    version = subprocess.run([PYTHON, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    say(f"{version} (Colab: 3.13)")
    here = installed()
    departures = [f"{name} {here.get(name)} (Colab: {v})" for name, v in listed().items() if here.get(name) != v]
    say(f"{len(listed())} packages listed; other versions here: {', '.join(departures) or 'none'}")


def kernel() -> dict[str, str]:
    """Describe Colab's kernel to nbclient; return the environment in which the kernel and its server run."""
    startup = WORK / "ipython/profile_default/startup/colab.py"
    startup.parent.mkdir(parents=True, exist_ok=True)
    startup.write_text("import google.colab\n")  # as on Colab, where it is there before the first cell
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LORABOOK_", "HF_", "PYTHON"))}
    environment = kept | {
        "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "tests/kit/colab_stub"),
        "IPYTHONDIR": str(WORK / "ipython"),
        "HF_HUB_OFFLINE": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # a warning of the debugger's
        "HF_HOME": str(WORK / "huggingface"),
    }
    spec = WORK / "jupyter/kernels/colab/kernel.json"
    spec.parent.mkdir(parents=True, exist_ok=True)
    argv = [str(PYTHON), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "Colab", "language": "python"}))
    os.environ["JUPYTER_PATH"] = str(WORK / "jupyter")
    return environment


def run(notebook: nbformat.NotebookNode, environment: dict[str, str]) -> None:
    folder = WORK / "content"
    folder.mkdir(parents=True, exist_ok=True)
    client = NotebookClient(notebook, timeout=900, kernel_name="colab", resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)


def texts(cell: nbformat.NotebookNode) -> str:
    """What a cell shows as text, as nbval would compare it; joined, since a kernel cuts a stream where it likes."""
    parts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs]
    text = "\n".join(part.strip("\n") for part in parts if part)
    for pattern, replacement in PATTERNS:
        text = re.sub(pattern, replacement, text)
    return text


def differences(stored: nbformat.NotebookNode, seen: nbformat.NotebookNode) -> list[str]:
    """The cells whose text is not the stored one, of those that nbval compares and that come after the first."""
    found = []
    code = [(i, a, b) for i, (a, b) in enumerate(zip(stored.cells, seen.cells)) if a.cell_type == "code"]
    for i, a, b in code[1:]:
        if "NBVAL_IGNORE_OUTPUT" not in a.source and texts(a) != texts(b):
            lines = [line for line in texts(b).splitlines() if line not in texts(a).splitlines()]
            found.append(f"  cell {i} shows: {' | '.join(lines)[:200] or 'less'}")
    return found


def try_notebook(path: Path, environment: dict[str, str]) -> tuple[str, bool]:
    """Run one notebook in an environment without lorabook; a line for the table, and whether all was well."""
    pip("uninstall", "--yes", *sorted(ADDED))
    before, started = installed(), time.monotonic()
    stored, notebook = nbformat.read(path, as_version=4), nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    say(f"== {path.name}")
    trouble = []
    try:
        run(notebook, environment)
    except CellExecutionError as error:
        trouble.append(f"raised {str(error)[-1500:]}")
    seconds, after = time.monotonic() - started, installed()
    changed = {n: (v, after.get(n)) for n, v in before.items() if after.get(n) != v}
    if changed or after.keys() - before.keys() != ADDED:
        trouble.append(f"installing changed {changed}, added {sorted(after.keys() - before.keys())}")
    if any(o.get("name") == "stderr" for c in notebook.cells if c.cell_type == "code" for o in c.outputs):
        trouble.append("wrote to stderr")
    other = differences(stored, notebook)
    for line in [*other, *trouble]:
        say(line)
    state = "failed" if trouble else "ok"
    return f"{path.name:44} {seconds:6.0f} s  {state:6}  {len(other)} cells show something else", not trouble


def main() -> None:
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    LOG.write_text("")
    build()
    pip("wheel", "--no-deps", "--wheel-dir", str(WORK / "content"), str(ROOT))
    environment = kernel()
    paths = [Path(p) for p in sys.argv[1:]] or sorted((ROOT / "notebooks").glob("*.ipynb"))
    table = [try_notebook(path, environment) for path in paths]
    if not sys.argv[1:]:
        table.append(vault_and_drive(environment))
        table.append(classic(environment))
    say("\n".join(["", *(line for line, _ in table)]))
    sys.exit(not all(well for _, well in table))


def vault_and_drive(environment: dict[str, str]) -> tuple[str, bool]:
    try:
        run(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(VAULT_AND_DRIVE)]), environment)
    except CellExecutionError as error:
        say(str(error))
        return f"{'the vault and Drive':44}           failed", False
    return f"{'the vault and Drive':44}           ok", True


def classic(environment: dict[str, str]) -> tuple[str, bool]:
    """Move the explorers in the classic Notebook of the same environment."""
    command = [sys.executable, "-m", "scripts.checks.classic_notebook", str(PYTHON), str(WORK / "classic")]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    say(done.stdout + done.stderr)
    state = "ok" if done.returncode == 0 else "failed"
    return f"{'the explorers in the classic Notebook':44}           {state}", done.returncode == 0


if __name__ == "__main__":
    main()
