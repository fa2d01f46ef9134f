"""The notebooks' helpers, without a browser: figures from values, the live plot, and the final run's choices."""

import io
import re

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from lorabook.errors import LicenceError, NetworkError, NoTokenError
from lorabook.lora import LoRAConfig
from lorabook.memory.dry_run import dry_run
from lorabook.memory.estimate import estimate
from lorabook.models.hub import UNGATED
from lorabook.training.evaluate import QuestionGain
from lorabook.training.history import History, Step
from lorabook.workbook.final_run import final_run
from lorabook.workbook.final_run.live import LossPlot
from lorabook.workbook.kit import figures


def history(steps: int) -> History:
    done = [Step(i, 4.0 - i / 10, 1e-3, 1.0, 100, 50, 0.1, 2**20) for i in range(1, steps + 1)]
    return History(done, [(0, 4.1), (steps, 3.2)])


def pixels(figure) -> np.ndarray:
    return imread(io.BytesIO(figures.to_png(figure)))[..., :3]


def test_loss_curve_plots_what_was_recorded():
    run = history(12)
    (axes,) = figures.loss_curve(run).axes
    training, held_out = axes.get_lines()
    assert list(training.get_ydata()) == run.losses
    assert list(zip(held_out.get_xdata(), held_out.get_ydata())) == run.held_out


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (QuestionGain(4.5, 4.6, 10), QuestionGain(3.7, 3.9, 10)),
        (QuestionGain(4.5, 4.9, 10), QuestionGain(3.7, 3.8, 10)),  # the question helps less than before
        (QuestionGain(4.5, 4.5, 10), QuestionGain(3.7, 3.7, 10)),
    ],
)
def test_waterfall_leads_from_base_to_tuned(before, after):
    (axes,) = figures.fall_waterfall(before, after).axes
    base, manner, question, tuned = axes.patches
    assert base.get_height() == before.own and tuned.get_height() == after.own
    assert manner.get_y() + manner.get_height() == pytest.approx(before.own)
    ends = {round(question.get_y(), 9), round(question.get_y() + question.get_height(), 9)}
    assert ends == {round(manner.get_y(), 9), round(after.own, 9)}


def test_histogram_counts_every_row():
    (axes,) = figures.length_histogram([10, 20, 20, 500], 512).axes
    assert sum(bar.get_height() for bar in axes.patches) == 4
    assert axes.get_title() == "No row of 4 reaches the cut"
    (axes,) = figures.length_histogram([10, 512, 512], 512).axes
    assert axes.get_title() == "2 of 3 rows reach the cut"


def test_figures_leave_nothing_open_and_draw_something():
    from matplotlib import pyplot

    colours = np.unique(pixels(figures.loss_curve(history(5))).reshape(-1, 3), axis=0)
    assert len(colours) > 50  # lines, markers and text, all with soft edges
    assert pyplot.get_fignums() == []


def test_show_gives_picture_text_and_caption(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda value, **more: shown.append(value))
    figures.show(figures.loss_curve(history(3)), "A falling loss.")
    picture, caption = shown
    assert picture["image/png"].startswith(b"\x89PNG") and picture["text/plain"] == "A falling loss."
    assert "A falling loss." in caption.data


def test_live_plot_redraws_one_image_and_has_a_short_repr():
    plot = LossPlot(20)
    first = plot.value
    plot(history(4))
    assert plot.value != first and bytes(plot.value).startswith(b"\x89PNG")
    assert repr(plot) == "LossPlot()"


class TestChoice:
    @pytest.fixture(autouse=True)
    def _machine(self, monkeypatch):
        monkeypatch.delenv("LORABOOK_MODEL", raising=False)

    def gpu(self, monkeypatch, gib: float, error: Exception | None = None):
        class Card:
            total_memory = int(gib * 2**30)

        def preflight(name):
            if error and name == final_run.STARCODER:
                raise error

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Card)
        monkeypatch.setattr(final_run, "preflight", preflight)

    def test_no_gpu_takes_pocket_with_a_banner(self):
        run = final_run.choose()
        assert run.model == "pocket" and run.data == "sample"
        assert "gets nothing right" in final_run.describe(run)

    def test_the_environment_decides_where_it_is_set(self, monkeypatch):
        self.gpu(monkeypatch, 15)
        monkeypatch.setenv("LORABOOK_MODEL", "pocket")
        assert final_run.choose().model == "pocket"

    def test_a_gpu_with_access_takes_starcoder(self, monkeypatch):
        self.gpu(monkeypatch, 14.75)
        run = final_run.choose()
        assert run.model == final_run.STARCODER and run.training.minutes
        assert "bigcode-openrail-m" in final_run.describe(run)

    @pytest.mark.parametrize("error", [NoTokenError("No token.", "Set HF_TOKEN."), LicenceError("No licence.", "Do.")])
    def test_no_access_takes_the_ungated_model_and_says_why(self, monkeypatch, error):
        self.gpu(monkeypatch, 14.75, error)
        run = final_run.choose()
        assert run.model == UNGATED and str(error) in final_run.describe(run)

    def test_a_small_card_takes_the_small_model(self, monkeypatch):
        self.gpu(monkeypatch, 6)
        run = final_run.choose()
        assert run.model == UNGATED and "less than" in final_run.describe(run)

    def test_no_network_takes_pocket_and_says_why(self, monkeypatch):
        self.gpu(monkeypatch, 14.75, NetworkError("No hub.", "Go online."))
        run = final_run.choose()
        assert run.model == "pocket" and "No hub." in final_run.describe(run)


def test_coloured_row_is_the_row_with_its_answer_coloured():
    from lorabook.data.examples import Example

    class Letters:
        def decode(self, ids):
            return "".join(map(chr, ids))

    row = Example(tuple(map(ord, "Q: <b>x</b>\nA: y")), 12, 1)
    text = final_run.coloured(row, Letters())
    assert re.sub(r"\x1b\[[\d;]*m", "", text) == "Q: <b>x</b>\nA: y"
    assert text.index(final_run.ANSWER_COLOUR) == 12


def test_the_memory_forecast_is_the_ledger_s_and_the_rehearsal_s():
    run, lora = final_run.settings_for("pocket"), LoRAConfig(r=16, alpha=32)
    plan = final_run.memory_plan(run, lora)
    assert (plan.batch, plan.sequence, plan.checkpointing) == (4, 512, torch.cuda.is_available())
    said = final_run.memory_forecast(run, lora)
    peaks = estimate("pocket", plan).predicted_peak, dry_run("pocket", plan).peak
    assert re.findall(r"peak: (\d+\.\d\d) GiB", said) == [f"{peak / 2**30:.2f}" for peak in peaks]
    other = final_run.settings_for("someone/else")
    assert "The sizes of 'someone/else' are not known." in final_run.memory_forecast(other, lora)
