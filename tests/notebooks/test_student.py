"""The students' copy: nothing is in it that a reader of the book has not made, and every exercise waits."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from lorabook.reader_copy import QUESTION
from lorabook.workbook.exercises import BY_ROOM, EXERCISES
from scripts.notebooks.student import main
from tests.kit.notebooks import NOTEBOOKS, ROOT

NAMES = [path.name for path in NOTEBOOKS]


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("student") / "new"
    main(folder)
    return folder


def code(path: Path) -> list[nbformat.NotebookNode]:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def exercises(path: Path) -> dict[str, str]:
    """Source by name of every cell that checks an exercise."""
    found = {name: cell.source for cell in code(path) for name in re.findall(r"^check\(\"(\w+)\"", cell.source, re.M)}
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_opens_and_holds_no_output_and_no_answer(student, name):
    cells = code(student / name)
    assert [cell for cell in cells if cell.execution_count is not None] == []
    kept = [output for cell in cells if not QUESTION.search(cell.source) for output in cell.outputs]
    assert all("image/png" in output.data for output in kept), "pictures, and nothing that is printed"
    assert not any(re.search(r"^(solution|hint)\(", cell.source, re.M) for cell in cells)
    found = exercises(student / name)
    in_order = [*BY_ROOM.values(), ()]  # notebook 09 has none to check
    assert set(found) == {exercise.name for exercise in in_order[int(name[:2])]}
    for exercise, source in found.items():
        assert all(line in source for line in EXERCISES[exercise].stub.strip().splitlines())
    sources = [cell.source for cell in code(ROOT / "notebooks" / name)]
    assert [cell.source for cell in cells] == sources, "the committed notebook has stubs already"


def test_answers_in_a_teacher_s_copy_are_taken_out(tmp_path):
    (name,) = [name for name in NAMES if name.startswith("04")]
    notebook, teacher = nbformat.read(ROOT / "notebooks" / name, as_version=4), tmp_path / "teacher"
    answered = 0
    for cell in notebook.cells:
        if match := re.search(r"^check\(\"(\w+)\", \w+\)$", cell.source, re.M):
            before = "from lorabook.workbook.exercises import check, hint, solution\n\n\n" if not answered else ""
            cell.source = f'{before}{EXERCISES[match[1]].solution}\n\n{match[0]}\nsolution("{match[1]}")'
            answered += 1
    assert answered == 2
    teacher.mkdir()
    nbformat.write(notebook, teacher / name)
    main(tmp_path / "student", teacher)
    for exercise, source in exercises(tmp_path / "student" / name).items():
        assert EXERCISES[exercise].solution.strip() not in source and "raise NotImplementedError" in source
        assert "solution(" not in source.replace("import check, hint, solution", "")


@pytest.mark.seconds
@pytest.mark.parametrize("number", ["04", "05"])
def test_every_exercise_of_a_copy_says_that_it_waits(student, number):
    (name,) = [name for name in NAMES if name.startswith(number)]
    head = "from lorabook.workbook.exercises import check, hint, solution\n"
    program = head + "\n".join(exercises(student / name).values())
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    said = done.stdout.splitlines()
    assert len(said) == len(list(BY_ROOM.values())[int(number)])
    assert all(": not attempted yet." in line for line in said)
