"""Whether every text of a figure can be read."""

from matplotlib.text import Text


def assert_no_text_cut_or_covered(figure) -> None:
    figure.draw_without_rendering()
    texts = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    for i, (one, box) in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= 840 and box.y1 <= 440, f"{one!r} leaves the figure"
        for other, second in boxes[i + 1 :]:
            assert not box.padded(-1).overlaps(second.padded(-1)), f"{one!r} lies on {other!r}"
