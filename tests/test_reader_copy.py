"""A reader's copy: questions and pictures stay, and nothing that answers a question before the reader."""

import json

import nbformat
import pytest

from lorabook.reader_copy import QUESTION, unrun
from tests.kit.notebooks import NOTEBOOKS


def code(source: str, *kinds: str) -> dict:
    outputs = [{"output_type": "display_data", "data": {kind: "x"}} for kind in kinds]
    return {"cell_type": "code", "source": [source], "outputs": outputs, "execution_count": 3}


def prose(source: str) -> dict:
    return {"cell_type": "markdown", "source": [source]}


def test_what_follows_a_question_is_cleared_up_to_the_next_heading():
    cells = [
        code("figures.show(a)", "image/png", "text/plain"),
        code("questions.size()", "text/plain"),
        code("figures.show(b)", "image/png"),
        prose("#### No heading of a section"),
        code("figures.show(c)", "image/png"),
        prose("### The next one"),
        code("figures.show(d)", "image/png"),
        code('predict("case 1", guess=None)', "text/plain"),
        code("print(1)", "text/plain"),
    ]
    unrun(cells)
    kinds = [[kind for out in cell["outputs"] for kind in out["data"]] for cell in cells if "outputs" in cell]
    png = ["image/png"]
    assert kinds == [png, ["text/plain"], [], [], png, ["text/plain"], []]
    assert all(cell["execution_count"] is None for cell in cells if "outputs" in cell)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_copy_is_a_notebook_with_the_questions_of_the_book(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    unrun(notebook["cells"])
    nbformat.validate(nbformat.from_dict(notebook))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and QUESTION.search("".join(cell["source"])):
            assert cell["outputs"], "a question can be read before it is run"
