"""The figures: the numbers given are the numbers drawn; and the stored run that they draw agrees with
itself and with what can be computed here."""

import numpy as np
import pytest
import scipy.linalg
import torch
from matplotlib import pyplot

from lorabook.lora import matched
from lorabook.models import load_model
from lorabook.workbook.kit.stored import stored
from lorabook.workbook.low_rank import figures as figures_04

RANKS = [0, 1, 2, 4, 8, 16]


def drawn(axes) -> dict[str, list[float]]:
    """The labelled lines of `axes` that hold points: name → heights."""
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    return {name: heights for name, heights in lines.items() if not name.startswith("_") and heights}


class TestPicture:
    def test_is_grey_values_and_the_same_every_time(self):
        M = figures_04.picture()
        assert M.shape == (160, 240) and M.dtype == torch.float32
        assert M.min() >= 0 and M.max() <= 1 and M.std() > 0.1
        assert torch.equal(M, figures_04.picture())

    def test_rank_shows(self):
        """A third is missing at rank 1, hardly anything at 64: the energy around the mean, by SciPy."""
        M = figures_04.picture().double().numpy()
        squares = scipy.linalg.svdvals(M - M.mean()) ** 2
        shares = np.cumsum(squares) / squares.sum()
        assert shares[0] < 0.7 and shares[63] > 0.995

    def test_sky_at_the_left_edge_is_a_column_times_a_row(self):
        sky = figures_04.picture()[:20, :20].double().numpy()
        assert np.linalg.matrix_rank(sky, tol=1e-5) == 1


def test_approximations_show_the_matrices_on_one_scale():
    images = {"a": torch.rand(4, 6), "b": torch.rand(4, 6)}
    first, second = figures_04.approximations(images, "What to see").axes
    for axes, image in zip((first, second), images.values()):
        (shown,) = axes.get_images()
        assert np.array_equal(shown.get_array(), image.numpy()) and shown.get_clim() == (0, 1)
    assert [axes.get_title() for axes in (first, second)] == ["a", "b"]


def test_singular_values_are_shares_of_the_norm():
    values = torch.tensor([4.0, 2.0, 2.0, 1.0])  # squares: 16 + 4 + 4 + 1 = 25
    (axes,) = figures_04.singular_values({"M": values, "N": 7 * values}, "t", mark=2).axes
    lines = drawn(axes)
    assert lines["M"] == pytest.approx([0.8, 0.4, 0.4, 0.2]) and lines["N"] == pytest.approx(lines["M"])
    assert list(axes.get_lines()[0].get_xdata()) == [1, 2, 3, 4]
    assert list(axes.get_lines()[-1].get_xdata()) == [2, 2]


def test_zeros_can_be_drawn_on_the_logarithmic_axis():
    (axes,) = figures_04.singular_values({"M": torch.tensor([1.0, 0.0])}, "t", floor=1e-3).axes
    assert drawn(axes)["M"] == pytest.approx([1.0, 1e-3]) and 0 < axes.get_ylim()[0] < 1e-3


def test_panels_draw_every_matrix_and_name_a_series_once():
    series = {"ΔW": [[0.1, 0.5], [0.2, 0.6]], "W0": [[0.1, 0.4]], "noise": [[0.05, 0.3]]}
    panels = dict.fromkeys(("a", "b", "c", "d"), series)
    figure = figures_04.energy_panels(panels, [1, 4], "t")
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", "d", "", ""]
    heights = [list(line.get_ydata()) for line in figure.axes[3].get_lines() if len(line.get_ydata())]
    assert heights == [values for matrices in series.values() for values in matrices]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["ΔW", "W0", "noise"]


def test_energy_and_loss_draws_means_runs_and_the_range():
    loss = {"blocks": [[0.0, 0.4, 0.5, 0.7, 0.8, 1.0], [0.0, 0.2, 0.5, 0.7, 0.8, 1.0]]}
    energy = {"ΔW": [[0.0, 0.1, 0.2, 0.3, 0.4, 0.5], [0.0, 0.3, 0.4, 0.5, 0.6, 0.7]]}
    (axes,) = figures_04.energy_and_loss(RANKS, loss, energy, "t").axes
    lines = drawn(axes)
    assert lines["loss: blocks"] == pytest.approx([0.0, 0.3, 0.5, 0.7, 0.8, 1.0])
    assert lines["energy: ΔW"] == pytest.approx([0.0, 0.2, 0.3, 0.4, 0.5, 0.6])
    dots = [list(line.get_ydata()) for line in axes.get_lines() if line.get_marker() == "o"]
    assert dots == loss["blocks"]
    (band,) = axes.collections
    edges = band.get_paths()[0].vertices
    at = edges[edges[:, 0] == 1][:, 1]
    assert (at.min(), at.max()) == pytest.approx((0.1, 0.3))
    assert [label.get_text() for label in axes.get_xticklabels()] == [str(r) for r in RANKS]


def test_floor_and_what_was_reached():
    (axes,) = figures_04.teacher_floor(([1, 2, 3], [0.5, 0.2, 0.0]), ([1, 3], [0.51, 0.01]), "t").axes
    lines = drawn(axes)
    assert lines["Eckart–Young: σ² left out"] == [0.5, 0.2, 0.0] and lines["LoRA, trained"] == [0.51, 0.01]


def test_no_figure_stays_open():
    figures_04.singular_values({"M": torch.ones(3)}, "t")
    assert pyplot.get_fignums() == []


@pytest.fixture(scope="module")
def sweep() -> dict:
    return stored("low_rank", "delta_w")


class TestStoredRun:
    def test_W0_is_the_pocket_models(self, sweep):
        model = load_model("pocket", device="cpu").model
        for name in matched(model, ("all-linear", "wte", "wpe")):
            weight = model.get_submodule(name).weight.detach().double().numpy()
            values = np.sqrt(np.linalg.eigvalsh(weight.T @ weight).clip(0))[::-1][: min(weight.shape)]
            key = name.removeprefix("transformer.").removeprefix("h.")
            assert sweep["shapes"][key] == list(weight.shape)
            assert sweep["W0"][key] == pytest.approx(values, rel=1e-3, abs=1e-5)
        assert len(sweep["W0"]) == 18

    @pytest.mark.parametrize("part", ["long", "short"])
    def test_energies_are_those_of_the_singular_values(self, sweep, part):
        first = sweep[part]["runs"][0]
        assert first["energy"].keys() == sweep[part]["delta"].keys() == sweep["shapes"].keys()
        for name, values in sweep[part]["delta"].items():
            squares = np.square(values)
            shares = [squares[:r].sum() / squares.sum() for r in sweep["ranks"]]
            assert first["energy"][name] == pytest.approx(shares, abs=1e-3)

    @pytest.mark.parametrize("part", ["long", "short"])
    def test_the_whole_update_gives_the_tuned_loss_and_more_rank_a_lower_one(self, sweep, part):
        assert sweep["ranks"][0] == 0 and sweep["ranks"][-1] == 256
        assert len({run["seed"] for run in sweep[part]["runs"]}) == 3
        for run in sweep[part]["runs"]:
            for losses in run["loss"].values():
                assert len(losses) == len(sweep["ranks"])
                assert losses[-1] == pytest.approx(run["tuned"], abs=2e-4)
                assert losses == sorted(losses, reverse=True) and losses[0] < run["base"]
            assert all(a >= b for a, b in zip(run["loss"]["all"], run["loss"]["blocks"]))

    def test_the_rate_is_the_best_of_those_tried_and_no_end_of_the_grid(self, sweep):
        rates = {float(rate): loss for rate, loss in sweep["long"]["rates"].items()}
        best = min(rates, key=lambda rate: rates[rate])
        assert best == sweep["long"]["config"]["lr"] == sweep["short"]["config"]["lr"]
        assert min(rates) < best < max(rates)

    def test_noise_has_the_spectrum_of_noise(self, sweep):
        """Within 3% of the edges that Marchenko and Pastur give: sqrt(d) + sqrt(k), and for the energy d k."""
        for shape, values in sweep["noise"].items():
            d, k = map(int, shape.split(" x "))
            assert values[0] == pytest.approx(np.sqrt(d) + np.sqrt(k), rel=0.03)
            assert np.square(values).sum() == pytest.approx(d * k, rel=0.03)
