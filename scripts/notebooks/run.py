"""A notebook as a web page, after a run from top to bottom on the pocket model.

    python -m scripts.notebooks.run notebooks/09_finetune_starcoder.ipynb build/09_finetune_starcoder.html

Ends with a five-line summary of the fine-tune, read from what the notebook wrote to `build/adapter`.
"""

import json
import math
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from safetensors import safe_open

CELL_TIMEOUT_S = 900


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Run every code cell in place; say on the way which one is running."""
    code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    client = NotebookClient(
        notebook, timeout=CELL_TIMEOUT_S, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    with client.setup_kernel():
        for count, i in enumerate(code, 1):
            first = next((line for line in notebook.cells[i].source.splitlines() if not line.startswith("#")), "")
            print(f"cell {count}/{len(code)}: {first[:80]}", flush=True)
            client.execute_cell(notebook.cells[i], i)


def summary(folder: Path) -> str:
    history = json.loads((folder / "history.json").read_text())
    steps = history["steps"]
    with safe_open(folder / "adapter_model.safetensors", "pt") as f:
        trained = sum(math.prod(f.get_slice(key).get_shape()) for key in f.keys())  # noqa: SIM118
    speed = sum(s["tokens"] for s in steps) / sum(s["seconds"] for s in steps)
    return "\n".join(
        [
            f"held-out loss: {history['held_out'][0][1]:.3f} → {history['held_out'][-1][1]:.3f} nats per answer token",
            f"trainable parameters: {trained:,}",
            f"peak memory: {max(s['peak_bytes'] for s in steps) / 2**30:.2f} GiB",
            f"tokens per second: {speed:,.0f}",
            f"adapter: {folder}",
        ]
    )


def main() -> None:
    source, page = Path(sys.argv[1]), Path(sys.argv[2])
    page.parent.mkdir(parents=True, exist_ok=True)
    adapter = page.parent / "adapter"
    os.environ["LORABOOK_MODEL"], os.environ["LORABOOK_OUTPUT"] = "pocket", str(adapter.resolve())
    notebook = nbformat.read(source, as_version=4)
    failed = None
    try:
        execute(notebook, source.parent)
    except CellExecutionError as error:
        failed = error
    html, _ = HTMLExporter().from_notebook_node(notebook, resources={"metadata": {"name": source.stem}})
    page.write_text(html, encoding="utf-8")
    print(f"page: {page}")
    if failed:
        sys.exit(f"{failed}\nThe notebook stopped at this cell; the page holds what ran before it.")
    print(summary(adapter))


if __name__ == "__main__":
    main()
