"""The figures: the numbers given are the numbers drawn."""

import pytest
import torch
from matplotlib.colors import to_hex
from scipy.linalg import hadamard

from lorabook.workbook.fastfood.figures import butterfly, cost, pictures, scales, spread
from lorabook.workbook.kit.figures import BLUE, VERMILION


def test_the_butterfly_s_lines_are_the_hadamard_matrix():
    """Following the lines through the stages, a dashed one for −1, gives H itself."""
    (axes,) = butterfly([[1, 2, 3, 4, 5, 6, 7, 8]] * 4).axes
    product = torch.eye(8, dtype=torch.int64)
    for stage in range(3):
        step = torch.zeros(8, 8, dtype=torch.int64)
        for line in [line for line in axes.get_lines() if stage < max(line.get_xdata(), default=-1) < stage + 1]:
            source, place = line.get_ydata()
            minus = line.get_linestyle() == "--"
            assert to_hex(line.get_color()) == (VERMILION if minus else BLUE).lower()
            step[int(place), int(source)] = -1 if minus else 1
        product = step @ product
    assert torch.equal(product, torch.tensor(hadamard(8)))


def test_the_butterfly_writes_every_number():
    stages = [[5, 1.5, 2, 4], [6.5, 3.5, 6, -2], [12.5, 1.5, 0.5, 5.5]]
    (axes,) = butterfly(stages).axes
    written = {(round(t.get_position()[0]), round(t.get_position()[1])): t.get_text() for t in axes.texts}
    expected = {(s, i): f"{v:g}".replace("-", "−") for s, numbers in enumerate(stages) for i, v in enumerate(numbers)}
    assert written == expected and "8 additions" in axes.get_title()


def test_pictures_show_each_matrix_with_its_accuracies():
    matrices = {"": torch.randn(4, 4), "G": torch.eye(4), "GΠ": -3 * torch.eye(4), "H": torch.ones(4, 4)}
    accuracies = {"": [0.7, 0.8], "G": [0.6], "GΠ": [0.1, 0.3], "H": [0.25]}
    figure = pictures(matrices, accuracies, d=3)
    assert "d = 3" in figure.get_suptitle()
    for axes, matrix in zip(figure.axes, matrices.values()):
        (image,) = axes.images
        assert (image.get_array() == matrix.numpy()).all()
        low, high = image.get_clim()
        assert low == -high and high == pytest.approx(2 * matrix[matrix != 0].pow(2).mean().sqrt().item())
    assert [a.get_title() for a in figure.axes] == ["H G Π H B", "G off", "G and Π off", "H off"]
    assert figure.axes[0].get_xlabel() == "column\naccuracy 75% (70% to 80%)"
    assert figure.axes[2].get_xlabel() == "column\naccuracy 20% (10% to 30%)"


def test_spread_is_least_mean_and_greatest():
    assert spread([3.0, 1.0, 5.0]) == (1, 3, 5)


def test_cost_draws_both_panels_on_log_axes():
    operations, sizes = {"dense": [2, 20], "Fastfood": [9, 9]}, {"dense": [2**30, 2**31], "Fastfood": [2**29] * 2}
    left, right = cost([1, 10], operations, sizes, here=5, limits={"card": 2**32}).axes
    assert [list(line.get_ydata()) for line in left.get_lines()[:2]] == list(operations.values())
    assert [list(line.get_ydata()) for line in right.get_lines()[:2]] == [[1, 2], [0.5, 0.5]]  # GiB
    assert list(left.get_lines()[2].get_xdata()) == [5, 5]
    assert list(right.get_lines()[3].get_ydata()) == [4, 4] and {t.get_text().strip() for t in right.texts} == {
        "card",
        "d = 5",
    }
    assert {axes.get_xscale() for axes in (left, right)} == {axes.get_yscale() for axes in (left, right)} == {"log"}


def test_scales_draw_every_seed_and_the_mean():
    lambdas = {"c_attn": [[0.5, 1.5], [2.0, 4.0]], "c_fc": [[1.0, 1.0], [0.0, 1.0]]}
    (axes,) = scales(lambdas).axes
    points = [line for line in axes.get_lines() if line.get_marker() == "o" and len(line.get_xdata())]
    means = [line for line in axes.get_lines() if line.get_marker() == "|"]
    assert [list(line.get_xdata()) for line in points] == [block for blocks in lambdas.values() for block in blocks]
    assert [line.get_xdata()[0] for line in means] == [1, 3, 1, 0.5]
    assert [round(line.get_ydata()[0]) for line in points] == [0, 0, 1, 1]
    assert [text.get_text() for text in axes.get_yticklabels()] == list(lambdas)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["block 0", "block 1"]
