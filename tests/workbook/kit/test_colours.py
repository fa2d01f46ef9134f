"""The figures' colours: text is read on the page, marks are seen, and colour-blind readers tell them apart.

Contrast is WCAG 2.2's: the ratio of relative luminances, each plus 0.05. Colour blindness is simulated by the matrices
of Machado, Oliveira and Fernandes 2009 (doi 10.1109/TVCG.2009.113) for a kind of cone that is missing, and the
distance of two colours is that of CIELAB.
"""

import io
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from matplotlib.text import Text

from lorabook.workbook.kit import figures

FOLDER = Path(figures.__file__).parents[1]
PALETTE = {name: getattr(figures, name) for name in ("BLUE", "ORANGE", "GREEN", "VERMILION", "GREY")}
EYES = {
    "typical": np.eye(3),
    "no red cones": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "no green cones": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "no blue cones": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
}


def linear(colour) -> np.ndarray:
    """Red, green and blue in proportion to light, from sRGB."""
    c = np.asarray(to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(a, b) -> float:
    light = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b))
    return (light[1] + 0.05) / (light[0] + 0.05)


def lab(light: np.ndarray) -> np.ndarray:
    """CIELAB of linear light, under D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    t = to_xyz @ np.clip(light, 0, 1) / [0.95047, 1.0, 1.08883]
    x, y, z = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_contrast_is_that_of_wcag():
    assert contrast("black", "white") == pytest.approx(21)
    assert contrast("#777777", "white") == pytest.approx(4.48, abs=0.005)  # the standard's well-known near miss


def test_text_is_legible_on_a_white_page_and_on_a_dark_one():
    figure, axes = figures.new_figure()
    axes.set(title="a title", xlabel="steps", ylabel="loss")
    for colour in (*PALETTE.values(), figures.SKY, "black", "white"):
        axes.text(0, 0.5, "a label", color=colour)
    axes.plot([0, 1], [0, 1], label="a line")
    axes.legend()
    in_a_bar = axes.text(0, 0.5, "in a bar", color=figures.ON_LIGHT)
    assert imread(io.BytesIO(figures.to_png(figure)))[0, 0, 3] == 0  # the page shows through
    texts = [text for text in figure.findobj(Text) if text.get_text() and text is not in_a_bar]
    assert len(texts) > 20
    for text in texts:
        for page in ("white", "#111111"):  # that of JupyterLab's dark theme
            assert contrast(text.get_color(), page) > 4.2, text
    assert in_a_bar.get_color() == figures.ON_LIGHT


def test_a_legible_colour_keeps_its_hue():
    for colour in ("#0072B2", "#E69F00"):
        assert np.argsort(to_rgb(figures.legible(colour))).tolist() == np.argsort(to_rgb(colour)).tolist()
    assert len(set(to_rgb(figures.legible("black")))) == len(set(to_rgb(figures.legible("white")))) == 1


@pytest.mark.parametrize("eyes", EYES)
def test_the_palette_is_told_apart(eyes):
    seen = {name: lab(np.asarray(EYES[eyes]) @ linear(colour)) for name, colour in PALETTE.items()}
    seen["the page"] = lab(np.ones(3))
    near = {(a, b): np.linalg.norm(seen[a] - seen[b]) for a, b in combinations(seen, 2)}
    assert min(near.values()) > 10, min(near, key=near.get)


def test_the_explorers_have_this_palette_and_text_in_it_is_read():
    svg, style = (FOLDER.joinpath("kit", name).read_text(encoding="utf-8") for name in ("svg.js", "style.js"))
    ours = dict(re.findall(r'(\w+): "(#\w{6})"', svg))
    assert ours == {name.lower(): getattr(figures, name) for name in (*PALETTE, "SKY", "PURPLE")}
    assert contrast("white", ours["blue"]) > 4.5  # the sizes in a bar: white on blue, black on the others
    assert all(contrast("black", colour) > 4.5 for name, colour in ours.items() if name != "blue")
    themes = re.findall(r"--page: (#\w+); --text: (#\w+);", style)
    assert len(themes) == 2
    for page, text in themes:
        muted = 0.72 * np.array(to_rgb(text)) + 0.28 * np.array(to_rgb(page))  # as style.js mixes it
        assert contrast(text, page) > 10 and contrast(muted, page) > 4.5
        assert all(contrast(colour, page) > 2 for colour in ours.values())
