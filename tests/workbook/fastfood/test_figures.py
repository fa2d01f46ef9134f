"""The figures: the numbers given are the numbers drawn."""

import pytest
import torch
from matplotlib.colors import to_hex
from scipy.linalg import hadamard

from lorabook.workbook.fastfood.figures import VARIANTS, accuracy_without, butterfly, spread
from lorabook.workbook.kit.figures import BLUE, VERMILION


def test_the_butterfly_s_lines_are_the_hadamard_matrix():
    """Following the lines through the stages, a dashed one for −1, gives H itself."""
    (axes,) = butterfly([1, 2, 3, 4, 5, 6, 7, 8]).axes
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
    stages = [[5, 1.5, 2, 4], [7, 5.5, 3, -2.5], [12.5, 1.5, 0.5, 5.5]]
    (axes,) = butterfly(stages[0]).axes
    written = {
        (round(t.get_position()[0]), round(t.get_position()[1])): t.get_text()
        for t in axes.texts
        if "round" not in t.get_text()
    }
    expected = {(s, i): f"{v:g}".replace("-", "−") for s, numbers in enumerate(stages) for i, v in enumerate(numbers)}
    assert written == expected and "8 additions" in axes.get_title()


def test_accuracy_without_a_factor_is_the_mean_and_the_range_of_its_seeds():
    def of(low):
        return {variant: {"test": [low, low + 0.2]} for variant in VARIANTS}

    (axes,) = accuracy_without({"16": of(0.1), "64": of(0.5)}, "see").axes
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines() if line.get_linestyle() == "-"}
    assert lines.keys() == {label for label, _, _ in VARIANTS.values()}
    assert lines["both Hs off"] == pytest.approx([0.2, 0.6])
    edges = axes.collections[0].get_paths()[0].vertices
    assert (edges[:, 1].min(), edges[:, 1].max()) == pytest.approx((0.1, 0.7))


def test_spread_is_least_mean_and_greatest():
    assert spread([3.0, 1.0, 5.0]) == (1, 3, 5)
