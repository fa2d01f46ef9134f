"""The stored results: every file is read by its room and its name, is small, and says where it comes from."""

import json
import re
from pathlib import Path

import pytest

import lorabook
from lorabook.workbook.kit.stored import stored

ROOT = Path(lorabook.__file__).parent
FILES = sorted((ROOT / "assets" / "results").glob("*/*"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_stored_result_is_read_by_room_and_name(path):
    text = path.read_text(encoding="utf-8")
    found = stored(path.parent.name, path.stem)
    assert found == json.loads(text) and found is stored(path.parent.name, path.stem)
    assert (ROOT / "workbook" / path.parent.name).is_dir() and (ROOT.parent / found["script"]).is_file()
    assert len(text) < 500_000
    private = re.compile(r"\.jsonl|/home/(?!user/)|/work|/tmp")  # a model wrote of /home/user
    assert not private.search(text)
