"""The figures and its explorer: drawn is what was given, to scale, and the map is the book's."""

import re
from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.text import Text

from lorabook.lora import LoRAConfig, LoRALinear
from lorabook.memory.families import shape_of
from lorabook.workbook.kit.figures import GREY, ORANGE
from lorabook.workbook.start import explorer as start
from lorabook.workbook.start.explorer import MATRICES, RANKS, StartState
from lorabook.workbook.start.figures import CHAPTERS, PARTS, book_map, next_tokens
from tests.kit.notebooks import NOTEBOOKS, ROOT, cells

BEFORE = {"⏎": 0.57, "The": 0.01, "-": 0.02}
AFTER = {"⏎": 0.21, "The": 0.3, "-": 0.001}
STATES = [StartState(shape, r) for shape in MATRICES.values() for r in RANKS]


def test_each_token_has_its_two_bars_the_likeliest_on_top():
    (axes,) = next_tokens(BEFORE, AFTER, "A title").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["⏎", "The", "-"]
    bars = {(round(p.get_y() + p.get_height() / 2, 1), to_hex(p.get_facecolor())): p.get_width() for p in axes.patches}
    for place, token in enumerate(["⏎", "The", "-"]):
        assert bars[round(place - 0.2, 1), GREY.lower()] == BEFORE[token]
        assert bars[round(place + 0.2, 1), ORANGE.lower()] == AFTER[token]
    assert [t.get_text().strip() for t in axes.texts] == ["57%", "1%", "2%", "21%", "30%", "0%"]
    assert axes.yaxis_inverted() and axes.get_title() == "A title"


def test_the_map_has_a_box_for_every_notebook_and_a_way_through_all_but_the_optional_one():
    (axes,) = book_map().axes
    boxes = [p for p in axes.patches if isinstance(p, FancyBboxPatch)]
    assert [t.get_text()[:2] for t in axes.texts] == [c.number for c in CHAPTERS]
    assert [to_hex(b.get_facecolor()) for b in boxes] == [PARTS[c.part].lower() for c in CHAPTERS]
    assert not any(a.get_window_extent().overlaps(b.get_window_extent()) for a, b in combinations(boxes, 2))
    arrows = [p.get_linestyle() for p in axes.patches if isinstance(p, FancyArrowPatch)]
    assert arrows.count("-") == len(CHAPTERS) - 2 and arrows.count("--") == 2


def test_the_map_s_chapters_are_the_notebooks():
    assert [c.number for c in CHAPTERS] == [path.name[:2] for path in NOTEBOOKS]


def test_minutes_are_the_readme_s_and_the_table_s_in_notebook_00():
    readme = dict(re.findall(r"^\| \[(\d\d) · .*\| (\d+)[^|]* \|$", (ROOT / "README.md").read_text("utf-8"), re.M))
    prose = "\n".join(c["source"] for c in cells(NOTEBOOKS[0]) if c["cell_type"] == "markdown")
    table = dict(re.findall(r"^\| \[(\d\d) · .*\| (\d+)[^|]* \|$", prose, re.M))
    assert readme == table == {c.number: str(c.minutes) for c in CHAPTERS}


# The explorer


def test_the_matrices_are_those_of_the_models():
    for short, model in (("1B", "bigcode/starcoderbase-1b"), ("pocket", "pocket")):
        for m in shape_of(model).linears:
            if m.name in ("attn.c_attn", "mlp.c_fc"):
                assert MATRICES[f"{short}, {m.name.split('.')[1]}"] == (m.d, m.k)
    assert len(MATRICES) == 4 and StartState().shape == (2304, 2048)


@pytest.mark.parametrize("shape", MATRICES.values(), ids=MATRICES)
def test_the_count_is_that_of_a_real_layer(shape):
    import torch

    with torch.device("meta"):
        layer = LoRALinear(torch.nn.Linear(shape[1], shape[0]), LoRAConfig(r=16))
    assert start.trained(StartState(shape, 16)) == layer.A.numel() + layer.B.numel()
    assert start.trained(StartState()) == 69_632


@pytest.mark.parametrize("state", STATES, ids=str)
def test_blocks_are_drawn_to_one_scale_apart_and_with_room_for_every_text(state):
    figure = start.figure(state)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    (d, k), r = state.shape, state.r
    assert [(p.get_height(), p.get_width()) for p in axes.patches] == [(d, k), (d, r), (r, k)]
    assert [to_hex(p.get_facecolor()) for p in axes.patches] == [GREY.lower(), ORANGE.lower(), ORANGE.lower()]
    seen = [p.get_window_extent() for p in axes.patches]
    for box, (rows, columns) in zip(seen, ((d, k), (d, r), (r, k))):
        assert box.height / seen[0].height == pytest.approx(rows / d, rel=1e-6)
        assert box.width / seen[0].height == pytest.approx(columns / d, rel=1e-6)
    assert seen[0].x1 < seen[1].x0 and seen[1].x1 < seen[2].x0 and min(b.x0 for b in seen) >= 0
    assert max(b.x1 for b in seen) <= 840 and min(b.y0 for b in seen) >= 0
    texts = [t.get_window_extent() for t in figure.findobj(Text) if t.get_text().strip()]
    assert all(t.x0 >= 0 and t.x1 <= 840 and t.y0 >= 0 and t.y1 <= 400 for t in texts)
    assert not any(a.overlaps(b) for a, b in combinations(texts, 2))
    for text, own in zip(axes.texts, seen):  # a name stands in its own block or in none
        extent = text.get_window_extent()
        assert not any(extent.overlaps(box) for box in seen if box is not own), text.get_text()


@pytest.mark.parametrize("state", STATES, ids=str)
def test_the_text_counts_what_numpy_counts(state):
    (d, k), r = state.shape, state.r
    numbers = np.empty((d, r), np.int8).size + np.empty((r, k), np.int8).size
    text = start.readout(state)
    assert f"= {numbers:,} numbers, trained: {100 * numbers / (d * k):.3g}% of W0's." in text
    assert ("they hold more" in text) == (numbers > d * k)
    assert start.figure(state).texts[1].get_text().startswith(f"Rank {r}: B and A hold {100 * numbers / (d * k):.3g}%")
