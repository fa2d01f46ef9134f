"""A History: through JSON and back, its sums, and a file that is written whole or not at all."""

import json
import os
from pathlib import Path

import pytest

from lorabook.training.history import History, Step


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def history() -> History:
    steps = [Step(1, 3.0, 1e-3, 0.5, 100, 40, 0.5, 2000), Step(2, 2.5, 9e-4, float("inf"), 60, 20, 0.3, 3000, True)]
    return History(steps, [(0, 3.1), (2, 2.4)], "finished")


def test_a_history_survives_json(tmp_path):
    history().save(tmp_path / "new" / "history.json")
    stored = json.loads((tmp_path / "new" / "history.json").read_text())
    assert History.from_json(stored) == history()
    assert names(tmp_path / "new") == ["history.json"]


def test_what_a_history_adds_up_to():
    h = history()
    assert h.losses == [3.0, 2.5] and h.tokens == 160 and h.peak_bytes == 3000
    assert h.tokens_per_second == pytest.approx(200)
    assert History().tokens_per_second == 0 and History().peak_bytes == 0


@pytest.mark.parametrize(
    ("losses", "before", "climbed"),
    [
        ([3.0] * 6 + [4.0] * 2, [], True),
        ([3.0] * 6 + [3.4] * 2, [], False),
        ([3.0] * 6 + [4.0, 3.0], [], False),  # a single step is noise
        ([3.0] * 6 + [4.0] * 2, [(0, 3.9)], False),  # the first steps were below where the run began
        ([3.0] * 5 + [4.0] * 2, [], False),  # too few to tell
        ([], [], False),
    ],
)
def test_a_climb_is_told_from_noise(losses, before, climbed):
    steps = [Step(i, loss, 1e-3, 0.5, 100, 40, 0.5, 2000) for i, loss in enumerate(losses, 1)]
    assert History(steps, before).climbed() == climbed


def test_a_history_that_cannot_be_written_leaves_the_old_file(tmp_path, monkeypatch):
    history().save(tmp_path / "history.json")

    def fail(*args):
        raise OSError("killed")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="killed"):
        History().save(tmp_path / "history.json")
    assert History.from_json(json.loads((tmp_path / "history.json").read_text())) == history()
