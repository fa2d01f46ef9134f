"""The figures and what the explorer says: drawn is what was given, and the map is the book's."""

import re

import numpy as np
import pytest
from matplotlib.colors import to_hex

from lorabook.lora import LoRAConfig, LoRALinear
from lorabook.memory.families import shape_of
from lorabook.workbook.kit.figures import BLUE, ORANGE
from lorabook.workbook.start import explorer as start
from lorabook.workbook.start.explorer import MATRICES, RANKS, StartState
from lorabook.workbook.start.figures import names
from tests.kit.notebooks import NOTEBOOKS, ROOT, cells

STATES = [StartState(shape, r) for shape in MATRICES.values() for r in RANKS]


def test_every_count_is_a_bar_of_its_length_with_its_number():
    counts = {"before": (0, 30), "with LoRA": (17, 1)}
    (axes,) = names(counts).axes
    bars = [(p.get_width(), to_hex(p.get_facecolor())) for p in axes.patches]
    assert bars == [(0, ORANGE.lower()), (30, BLUE.lower()), (17, ORANGE.lower()), (1, BLUE.lower())]
    assert [t.get_text() for t in axes.texts] == ["0 camelCase", "30 snake_case", "17 camelCase", "1 snake_case"]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(counts) and axes.yaxis_inverted()


def test_minutes_are_the_readme_s_and_the_table_s_in_notebook_00():
    readme = dict(re.findall(r"^\| \[(\d\d) · .*\| (\d+)[^|]* \|$", (ROOT / "README.md").read_text("utf-8"), re.M))
    prose = "\n".join(c["source"] for c in cells(NOTEBOOKS[0]) if c["cell_type"] == "markdown")
    table = dict(re.findall(r"^\| \[(\d\d) · .*\| (\d+)[^|]* \|$", prose, re.M))
    assert readme == table and list(table) == [path.name[:2] for path in NOTEBOOKS]


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
def test_the_text_counts_what_numpy_counts(state):
    (d, k), r = state.shape, state.r
    numbers = np.empty((d, r), np.int8).size + np.empty((r, k), np.int8).size
    text = start.readout(state)
    assert f"together r (d + k) = {numbers:,} parameters" in text
    (limit,) = re.findall(r"From rank ([\d,]+) on, B and A have more", text)
    assert (r >= int(limit.replace(",", ""))) == (numbers > d * k)
    assert start.shown(state)["title"].startswith(f"Rank {r}: B and A have {100 * numbers / (d * k):.3g}%")
