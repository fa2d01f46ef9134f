"""What a room of the workbook may import: the library and the kit, and nothing of another room."""

from pathlib import Path

import pytest

from lorabook import workbook
from lorabook.workbook.exercises import BY_ROOM
from tests.kit.imports import imported

FOLDER = Path(workbook.__file__).parent
PACKAGE = "lorabook.workbook"


def strangers(room: str, source: str) -> list[str]:
    """What a file of `room` imports of the workbook beyond the kit and the room itself."""
    allowed = (f"{PACKAGE}.kit.", f"{PACKAGE}.{room}.")
    return sorted(
        name for name in imported(source) if f"{name}.".startswith(f"{PACKAGE}.") and not f"{name}.".startswith(allowed)
    )


def test_the_rooms_are_those_of_the_exercises_and_the_kit():
    rooms = {*BY_ROOM, "final_run"}  # the last has no exercise to check
    assert {path.parent.name for path in FOLDER.glob("*/__init__.py")} == {*rooms, "kit"}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*/*.py")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_room_imports_the_kit_and_nothing_of_another_room(path):
    assert strangers(path.parent.name, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("memory", "from lorabook.workbook.low_rank.svd import spectrum"),
        ("memory", "from lorabook.workbook.low_rank import svd"),
        ("memory", "from lorabook.workbook import low_rank"),
        ("memory", "import lorabook.workbook.low_rank.svd"),
        ("memory", "from lorabook.workbook.exercises import check"),
        ("memory", "def f():\n    from lorabook.workbook.memory_of_another import x"),
        ("kit", "from lorabook.workbook.memory.explorer import MemoryExplorer"),
    ],
)
def test_a_planted_import_is_found(room, line):
    assert strangers(room, "from lorabook.workbook.kit import figures\nfrom lorabook.lora import LoRAConfig\n") == []
    assert len(strangers(room, line)) == 1
