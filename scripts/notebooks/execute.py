"""Store the outputs of notebooks run on the pocket model, clean: no widget state, no timings in the metadata.

python -m scripts.notebooks.execute [notebooks/09_finetune_starcoder.ipynb ...]
"""

import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat

from scripts.notebooks.run import execute

KEPT = ("tags",)


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The outputs with neighbours of one stream as one: where the kernel cuts what is printed is a matter of timing."""
    result: list[nbformat.NotebookNode] = []
    for output in outputs:
        if result and output.output_type == result[-1].output_type == "stream" and output.name == result[-1].name:
            result[-1].text += output.text
        else:
            result.append(output)
    return result


BAR = re.compile(r"\s*\d+%\|")


def without_bars(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The outputs without progress bars, which are of no interest to a reader and show other seconds each time.

    Of a line that was written over, what was written last stays, as on a screen.
    """
    result = []
    for output in outputs:
        if output.output_type == "stream":
            lines = [line.rpartition("\r")[2] for line in output.text.split("\n")]
            output.text = "\n".join(line for line in lines if not BAR.match(line))
            if not output.text:
                continue
        elif BAR.match(output.get("data", {}).get("text/plain", "")):
            continue
        result.append(output)
    return result


def clean(notebook: nbformat.NotebookNode) -> None:
    """Keep what a reader sees: sources, outputs, tags, the kernel's name."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1):
        cell.execution_count = count
        ignored = "nbval-ignore-output" in cell.metadata.get("tags", ())  # else nbval would miss the bar
        outputs = joined(cell.outputs)
        cell.outputs = without_bars(outputs) if ignored else outputs
        for output in cell.outputs:
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
            if output.output_type == "execute_result":
                output.execution_count = count
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in KEPT})


def main() -> None:
    os.environ["LORABOOK_MODEL"] = "pocket"
    for path in [Path(p) for p in sys.argv[1:]] or sorted(Path("notebooks").glob("*.ipynb")):
        print(f"== {path}")
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            os.environ["LORABOOK_OUTPUT"] = str(Path(folder) / "run")
            execute(notebook, path.parent)
        clean(notebook)
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
