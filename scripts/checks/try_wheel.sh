#!/usr/bin/env bash
# Install the one wheel in dist/ into an empty environment, and do with it what its first reader would.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
wheel=$(ls "$PWD"/dist/lorabook-*.whl)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" # away from the checkout, which would be imported in place of the wheel
"${PYTHON:-python3}" -m venv venv
# Pip's options beside the wheel, such as a torch that is there already: PIP_EXTRA="torch"
venv/bin/pip install --quiet ${PIP_EXTRA:-} "$wheel"
export PATH="$work/venv/bin:$PATH" HF_HUB_OFFLINE=1
ls -l "$wheel"
lorabook --version
lorabook workbook w
lorabook doctor
lorabook finetune --model pocket --data sample --steps 5
lorabook ask "How do I reverse a list?"
pip install --quiet nbclient ipykernel # no Jupyter server: what an editor with notebooks brings
python - <<'PYTHON'
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read("w/00_start_here.ipynb", as_version=4)
NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": "w"}}).execute()
print("00_start_here runs from the wheel")
PYTHON
