"""Drawing memory: labels that do not collide, an axis that stands still, sizes that read well."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from lorabook.workbook.kit.memory_bars import axis_top, size_text, spread


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8).map(sorted), st.floats(0.01, 0.1))
def test_spread_is_the_nearest_that_keeps_the_gap(wanted, gap):
    free = spread(wanted, gap, -10, 10)
    steps = np.arange(len(wanted)) * gap
    nearest = IsotonicRegression().fit_transform(np.arange(len(wanted)), np.array(wanted) - steps) + steps
    assert free == pytest.approx(list(nearest))
    held = spread(wanted, gap, 0, 1)
    assert held[0] >= 0 and held[-1] <= 1 + 1e-9 and all(b - a >= gap - 1e-9 for a, b in pairwise(held))


@given(st.floats(2**22, 2**50))
def test_axis_has_room_above_the_bars_and_is_a_round_number(highest):
    top = axis_top(highest, 12 * 2**30)
    assert top >= 1.1 * highest
    assert top <= 2.3 * highest or highest < 12 * 2**30
    unit = next(unit for unit in (2**40, 2**30, 2**20) if top >= 2 * unit)
    digits = f"{top / unit:.6e}".split("e")[0].rstrip("0").rstrip(".")
    assert digits in {"1", "1.2", "1.5", "2", "2.5", "3", "4", "5", "6", "8"}


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (512, "0.50 KiB"),
        (64 * 2**20, "64.0 MiB"),
        (2**30 - 1, "1.00 GiB"),
        (59 * 2**28, "14.8 GiB"),
        (2**45, "32.0 TiB"),
    ],
)
def test_sizes_have_three_digits(size, text):
    assert size_text(size) == text
