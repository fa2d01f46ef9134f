"""Run the tests with the lowest versions that pyproject.toml admits.

    python -m scripts.checks.lowest [arguments of pytest]

uv resolves each of our own requirements, extras included, to its lower bound, and installs that into `.venv-lowest`; a
changed pyproject.toml builds it anew. PyTorch's wheels on PyPI bring CUDA, some 3 GB on Linux; with
UV_TORCH_BACKEND=cpu, uv takes the small ones from PyTorch's own index. Without arguments every test runs but the
browser's, then every notebook, which may show other figures there but must not raise.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv-lowest"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
TESTS = ("-n", "2", "--dist", "loadfile", "-m", "not browser")
NOTEBOOKS = ("--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", "600", "notebooks")


def build() -> None:
    """Make `.venv-lowest` unless it has been made for this pyproject.toml."""
    stamp, wanted = VENV / "pyproject.toml", (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--clear", "--python", sys.executable, VENV], check=True)
    place = ["--python", PYTHON, "--resolution", "lowest-direct"]
    subprocess.run([*uv, "pip", "install", *place, "--editable", f"{ROOT}[lab,test]"], check=True)
    stamp.write_text(wanted, encoding="utf-8")


def main() -> None:
    build()
    runs = [tuple(sys.argv[1:])] if sys.argv[1:] else [TESTS, NOTEBOOKS]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "LORABOOK_MODEL": "pocket", "OMP_NUM_THREADS": "1"}
    failed = [subprocess.run([PYTHON, "-m", "pytest", *run], cwd=ROOT, env=environment).returncode for run in runs]
    sys.exit(max(failed))


if __name__ == "__main__":
    main()
