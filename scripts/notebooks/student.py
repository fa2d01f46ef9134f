"""Write the workbook as a class gets it: build/student/*.ipynb, readers' copies with no solutions.

    python -m scripts.notebooks.student [folder]

Every exercise is its stub again, whatever stood in the cell, so a teacher's own copy with answers in it can be the
source as well. `check` then says of each that it is not attempted yet.
"""

import re
import sys
from pathlib import Path

import nbformat

from lorabook.reader_copy import unrun
from lorabook.workbook.exercises import EXERCISES

ROOT = Path(__file__).resolve().parents[2]
CHECKED = re.compile(r"^check\([\"'](\w+)[\"'], ?\w+\)$", re.MULTILINE)
SHOWN = re.compile(r"^(?:solution|hint)\(.*\)\n?", re.MULTILINE)
IMPORT = re.compile(r"^from lorabook\.workbook\.exercises import .*\n\n*", re.MULTILINE)


def unanswered(source: str, stub: str, check: str) -> str:
    """The exercise's cell with its stub; the cell itself if all else in it is imports of the exercises."""
    imports = "".join(IMPORT.findall(source))
    wanted = f"{stub}\n\n\n{check}"
    if IMPORT.sub("", source).split() == wanted.split():
        return source
    return f"{imports}{wanted}"


def blank(notebook: nbformat.NotebookNode) -> None:
    """Make it a reader's copy, put every exercise back to its stub, take out calls of `solution` and `hint`."""
    unrun(notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k == "tags"})
        cell.source = SHOWN.sub("", cell.source).rstrip("\n")
        if found := CHECKED.search(cell.source):
            cell.source = unanswered(cell.source, EXERCISES[found[1]].stub.strip(), found[0])
    notebook.metadata.pop("widgets", None)


def main(folder: Path = ROOT / "build/student", source: Path = ROOT / "notebooks") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        blank(notebook)
        nbformat.write(notebook, folder / path.name)
        print(folder / path.name)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
