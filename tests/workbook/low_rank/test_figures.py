"""The figures: the numbers given are the numbers drawn."""

import numpy as np
import pytest
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


def test_the_triangle_has_a_right_angle_and_its_height_stands_at_p_s_share():
    (axes,) = figures_04.right_triangle(0.26, "t").axes
    height = axes.get_lines()[2].get_xydata()
    (foot, top), start, end = height, np.array([0, 0]), np.array([1, 0])
    assert (top - start) @ (end - top) == pytest.approx(0, abs=1e-12)
    assert foot.tolist() == [0.26, 0] and (top - start) @ (top - start) == pytest.approx(0.26)
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["P", "Q", "control: 0.26 ΔW", "ΔW"]


def test_parts_lie_as_far_as_they_go_and_are_tied_to_their_controls():
    line = {0: 0, 1: 1, 0.5: 0.8}
    first, rest = {4: (0.26, 0.72, 0.53), 1: (0.12, 0.44, 0.27)}, {4: (0.74, 0.71, 0.95)}
    (axes,) = figures_04.along_the_way(line, first, rest, "t").axes
    drawn = {line.get_label(): np.round(line.get_xydata(), 6).tolist() for line in axes.get_lines()}
    ties = [drawn.pop(name) for name in list(drawn) if name.startswith("_")]
    assert ties == [[[26, 72], [26, 53]], [[12, 44], [12, 27]], [[74, 71], [74, 95]]]
    assert drawn == {
        "ΔW scaled down": [[0, 0], [12, 27], [26, 53], [50, 80], [74, 95], [100, 100]],
        "first r terms": [[26, 72], [12, 44]],
        "all but first r terms": [[74, 71]],
    }
    named = [(text.get_text(), *np.round(text.xy, 6)) for text in axes.texts]
    assert named == [("r = 4", 26, 72), ("r = 1", 12, 44), ("r = 4", 74, 71)]
