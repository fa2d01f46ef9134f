"""The figures: the numbers given are the numbers drawn."""

import numpy as np
import pytest
import scipy.linalg
import torch

from lorabook.workbook.low_rank import figures as figures_04
from lorabook.workbook.low_rank.recovery import NAMES


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
    images = {"a": torch.ones(4, 6), "b": 0.5 * torch.ones(4, 6), "c": -0.2 * torch.ones(4, 6)}
    panes = figures_04.approximations(images, "What to see").axes
    for axes, image, black in zip(panes, images.values(), (0, 0, -0.5), strict=True):
        (shown,) = axes.get_images()
        assert np.array_equal(shown.get_array(), image.numpy()) and shown.get_clim() == (black, black + 1)
    assert [axes.get_title() for axes in panes] == ["a: 100%", "b: 25%", "c: 4%"]


def test_recovery_by_rank_draws_a_bar_up_to_the_mean_and_each_run():
    found = {update: {1: [0.5 + i, 0.7 + i], 4: [0.8, 0.9]} for i, update in enumerate(NAMES)}
    axes = figures_04.recovery_by_rank(found, "t").axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == pytest.approx([mean for i in range(len(NAMES)) for mean in (0.6 + i, 0.85)])
    runs = [list(line.get_ydata()) for line in axes.get_lines() if line.get_marker() == "."]
    assert runs == [by_rank[r] for by_rank in found.values() for r in (1, 4)]
    written = [text.get_text() for text in axes.texts]
    assert sorted(written) == ["160%", "260%", "60%"] + 3 * ["85%"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(NAMES)


def test_by_terms_draws_both_quantities_and_writes_all_but_the_last_values():
    axes = figures_04.by_terms(
        {"recovery": {1: 0.5, 4: 0.75, 16: 1.0}, "energy": {1: 0.1, 4: 0.25, 16: 1.0}}, "t"
    ).axes[0]
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [[0.5, 0.75, 1.0], [0.1, 0.25, 1.0]]
    assert [text.get_text() for text in axes.texts] == ["50%", "recovery 75%", "10%", "energy 25%"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "4", "16"]
