"""What is called along the run: the live plot."""

from types import SimpleNamespace

import pytest

from lorabook.training.history import History, Step
from lorabook.workbook.final_run.on_log import LossPlot


def history(steps: int) -> History:
    done = [Step(i, 4.0 - i / 10, 1e-3, 1.0, 100, 50, 0.1, 2**20) for i in range(1, steps + 1)]
    return History(done, [(0, 4.1), (steps, 3.2)])


@pytest.mark.seconds
def test_the_plot_is_redrawn_where_it_was_shown_last(monkeypatch):
    drawn = []

    def display(picture, display_id):
        cell = len([how for how, _, _ in drawn if how == "new"])
        drawn.append(("new", cell, picture.data))
        return SimpleNamespace(update=lambda picture: drawn.append(("again", cell, picture.data)))

    monkeypatch.setattr("lorabook.workbook.final_run.on_log.display", display)
    plot = LossPlot(20).show()
    plot(history(4))
    plot.show()  # in the next cell, as it is
    plot(history(8))
    assert [(how, cell) for how, cell, _ in drawn] == [("new", 0), ("again", 0), ("new", 1), ("again", 1)]
    pictures = [picture for _, _, picture in drawn]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert pictures[1] == pictures[2] and len(set(pictures)) == 3
