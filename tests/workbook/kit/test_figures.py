"""What all figures share: a loss curve from values, and how a figure is shown."""

import io

import numpy as np
import pytest
from matplotlib.image import imread

from lorabook.training.history import History, Step
from lorabook.workbook.kit import figures


def history(steps: int) -> History:
    done = [Step(i, 4.0 - i / 10, 1e-3, 1.0, 100, 50, 0.1, 2**20) for i in range(1, steps + 1)]
    return History(done, [(0, 4.1), (steps, 3.2)])


def pixels(figure) -> np.ndarray:
    return imread(io.BytesIO(figures.to_png(figure)))


def test_loss_curve_plots_what_was_recorded():
    run = history(12)
    (axes,) = figures.loss_curve(run).axes
    training, held_out = axes.get_lines()
    assert list(training.get_ydata()) == run.losses
    assert list(zip(held_out.get_xdata(), held_out.get_ydata())) == run.held_out


@pytest.mark.seconds
def test_figures_leave_nothing_open_and_draw_something():
    from matplotlib import pyplot

    colours = np.unique(pixels(figures.loss_curve(history(5))).reshape(-1, 4), axis=0)
    assert len(colours) > 50  # lines, markers and text, all with soft edges
    assert pyplot.get_fignums() == []


def test_show_gives_picture_text_and_caption(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda value, **more: shown.append(value))
    figures.show(figures.loss_curve(history(3)), "A falling loss.")
    picture, caption = shown
    assert picture["image/png"].startswith(b"\x89PNG") and picture["text/plain"] == "A falling loss."
    assert "A falling loss." in caption.data
