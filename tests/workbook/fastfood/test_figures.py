"""The figures: the numbers given are the numbers drawn."""

import torch
from matplotlib.colors import to_hex
from scipy.linalg import hadamard

from lorabook.workbook.fastfood.figures import butterfly, pictures, scrambled
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


def test_a_picture_is_drawn_on_a_scale_around_zero():
    secret, target = torch.rand(8, 32), torch.randn(40, 160)
    for axes, matrix, largest in zip(scrambled(secret, target).axes, (secret, target), (1, target.abs().max())):
        (image,) = axes.images
        assert torch.equal(torch.tensor(image.get_array()), matrix) and image.get_clim() == (-largest, largest)
        assert f"{matrix.numel():,} values" in axes.get_title()
        orange, white, black = image.cmap([0.0, 0.5, 1.0])[:, :3]
        assert to_hex(orange) == VERMILION.lower() and min(white) > 0.98 and max(black) == 0


def test_every_picture_stands_under_its_name_on_the_same_scale():
    images = {name: torch.rand(8, 32) for name in ("one", "two", "three", "four")}
    axes = pictures(images).axes
    assert [each.get_title() for each in axes] == list(images)
    for each, matrix in zip(axes, images.values()):
        assert torch.equal(torch.tensor(each.images[0].get_array()), matrix) and each.images[0].get_clim() == (-1, 1)
