"""README's picture shows figures that the notebooks have."""

import numpy as np
from PIL import Image

from scripts.notebooks.readme_picture import GAP, HEIGHT, PICTURE, SHOWN, figure


def test_the_committed_picture_is_made_of_the_committed_figures():
    figures = [figure(notebook, drawn_by) for notebook, drawn_by in SHOWN.items()]
    picture = Image.open(PICTURE).convert("RGBA")
    assert picture.size == (sum(f.width + GAP for f in figures) - GAP, HEIGHT)
    shown, first = np.asarray(picture, dtype=float), figures[0]
    difference = np.abs(shown[:, : first.width, 3] - np.asarray(first, dtype=float)[..., 3])
    assert difference.mean() < 12  # the palette has few levels of transparency
    assert shown[..., 3].min() == 0  # no background
