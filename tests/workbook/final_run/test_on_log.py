"""What is called along the run: the live plot, and the stop button that presses itself."""

import signal
from types import SimpleNamespace

import pytest

from lorabook.training.history import History, Step
from lorabook.workbook.final_run.on_log import LossPlot, interrupt_at


def history(steps: int) -> History:
    done = [Step(i, 4.0 - i / 10, 1e-3, 1.0, 100, 50, 0.1, 2**20) for i in range(1, steps + 1)]
    return History(done, [(0, 4.1), (steps, 3.2)])


def test_the_plot_is_redrawn_where_it_was_shown_last(monkeypatch):
    drawn = []

    def display(picture, display_id):
        cell = len([how for how, _, _ in drawn if how == "new"])
        drawn.append(("new", cell, picture.data))
        return SimpleNamespace(update=lambda picture: drawn.append(("again", cell, picture.data)))

    monkeypatch.setattr("lorabook.workbook.final_run.on_log.display", display)
    plot = LossPlot(20)
    plot.show()
    plot(history(4))
    plot.show()  # in the next cell, as it is
    plot(history(8))
    assert [(how, cell) for how, cell, _ in drawn] == [("new", 0), ("again", 0), ("new", 1), ("again", 1)]
    pictures = [picture for _, _, picture in drawn]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert pictures[1] == pictures[2] and len(set(pictures)) == 3


@pytest.fixture
def heeded_interrupt():
    """SIGINT as Python handles it; a job in the background of a shell ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_stop_button_is_pressed_once(heeded_interrupt):
    on_log = interrupt_at(2)
    on_log(history(1))
    with pytest.raises(KeyboardInterrupt):
        on_log(history(2))
    on_log(history(3))
