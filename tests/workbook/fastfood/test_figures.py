"""The figures: the numbers given are the numbers drawn."""

import torch
from matplotlib.colors import to_hex
from scipy.linalg import hadamard

from lorabook.workbook.fastfood.figures import butterfly
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
        if "round" not in t.get_text() and "x" not in t.get_text()
    }
    expected = {(s, i): f"{v:g}".replace("-", "−") for s, numbers in enumerate(stages) for i, v in enumerate(numbers)}
    assert written == expected and "8 additions" in axes.get_title()
