"""The figures: the numbers given are the numbers drawn."""

import numpy as np
import scipy.linalg
import torch

from lorabook.workbook.low_rank import figures as figures_04


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


def test_recovery_by_rank_draws_each_run_and_a_line_through_the_means():
    updates = tuple(figures_04.UPDATES)
    found = {update: {1: [0.5 + i, 0.7 + i], 4: [0.8, 0.9], 16: [1.0, 1.0]} for i, update in enumerate(updates)}
    (axes,) = figures_04.recovery_by_rank(found, "t").axes
    lines = [np.round(line.get_xydata(), 6).tolist() for line in axes.get_lines()]
    assert all([[1, 0.6 + i], [4, 0.85], [16, 1]] in lines for i in range(len(updates)))
    assert all([[1, 0.5 + i], [1, 0.7 + i]] in lines for i in range(len(updates)))
    written = [text.get_text() for text in axes.texts]
    assert written == ["full fine-tuning", "160%", "60%", "85%", "85%", *(f"100%  {update}" for update in updates)]


def test_values_beside_the_lines_do_not_overlap():
    found = {update: {1: [0.7], 4: [0.8], 16: [end]} for update, end in zip(figures_04.UPDATES, (0.99, 1))}
    (axes,) = figures_04.recovery_by_rank(found, "t").axes
    _, *heights = [text.get_position()[1] for text in axes.texts]
    assert all(heights[i + 1] - heights[i] < -0.025 for i in (0, 2, 4))


def test_by_size_draws_every_step_and_the_parts():
    shrunk, sizes = {0.0: 0.0, 0.51: 0.86, 0.86: 0.99, 1.0: 1.0}, {"first 4 terms": 0.51, "the other 252": 0.86}
    parts = {"first 4 terms": 0.77, "the other 252": 0.7}
    (axes,) = figures_04.by_size(shrunk, sizes, parts, "t").axes
    line, *points = axes.get_lines()
    assert dict(line.get_xydata().tolist()) == shrunk
    assert [tuple(point.get_xydata()[0]) for point in points] == [(0.51, 0.77), (0.86, 0.7)]
    written = [text.get_text() for text in axes.texts]
    assert written == ["first 4 terms: 77%", "ΔW shrunk: 86%", "the other 252: 70%", "ΔW shrunk: 99%"]


def test_energy_and_recovery_are_drawn_over_the_rank():
    energies, recoveries = {1: 0.1, 4: 0.26, 256: 1.0}, {1: 0.5, 4: 0.77, 256: 1.0}
    (axes,) = figures_04.energy_and_recovery(energies, recoveries, "t").axes
    assert [dict(line.get_xydata().tolist()) for line in axes.get_lines()] == [recoveries, energies]
    assert [text.get_text() for text in axes.texts] == ["recovery, 77% at r = 4", "energy, 26% at r = 4"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "4", "256"]
