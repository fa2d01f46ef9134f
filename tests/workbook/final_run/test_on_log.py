"""What is called along the run: the live plot, and the stop button that presses itself."""

import signal
from types import SimpleNamespace

import pytest

from lorabook.training.history import History, Step
from lorabook.workbook.final_run.on_log import LossPlot, interrupt_at


def history(steps: int) -> History:
    done = [Step(i, 4.0 - i / 10, 1e-3, 1.0, 100, 50, 0.1, 2**20) for i in range(1, steps + 1)]
    return History(done, [(0, 4.1), (steps, 3.2)])


def test_live_plot_redraws_one_picture_in_a_cell_and_begins_another_in_the_next(monkeypatch):
    drawn = []
    shell = SimpleNamespace(execution_count=7)
    handle = SimpleNamespace(update=lambda picture: drawn.append(("again", picture.data)))

    def display(picture, display_id):
        drawn.append(("new", picture.data))
        return handle

    monkeypatch.setattr("lorabook.workbook.final_run.on_log.get_ipython", lambda: shell)
    monkeypatch.setattr("lorabook.workbook.final_run.on_log.display", display)
    plot = LossPlot(20)
    for steps, cell in ((4, 7), (8, 7), (12, 8)):
        shell.execution_count = cell
        plot(history(steps))
    assert [how for how, _ in drawn] == ["new", "again", "new"]
    assert all(picture.startswith(b"\x89PNG") for _, picture in drawn)
    assert len({picture for _, picture in drawn}) == 3


@pytest.fixture
def heeded_interrupt():
    """SIGINT as Python handles it; a job in the background of a shell ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_stop_button_is_pressed_once_and_every_step_is_passed_on(heeded_interrupt):
    passed: list[int] = []
    on_log = interrupt_at(2, lambda run: passed.append(len(run.steps)))
    on_log(history(1))
    with pytest.raises(KeyboardInterrupt):
        on_log(history(2))
    on_log(history(3))
    assert passed == [1, 2, 3]
