"""The figure of notebook 01: the shapes given are the shapes drawn."""

from lorabook.workbook.from_scratch.figures import two_paths


def test_the_two_paths_name_every_shape():
    (axes,) = two_paths(1024, 256, 4).axes
    said = " ".join(text.get_text() for text in axes.texts)
    for shape in ("W0, 1024 × 256", "A, 4 × 256", "B, 1024 × 4", "x\n256 values", "h\n1024 values", " 4 values"):
        assert shape in said
    W0, A, B = axes.patches[:3]
    assert W0.get_width() == A.get_width() and W0.get_height() == B.get_height()
