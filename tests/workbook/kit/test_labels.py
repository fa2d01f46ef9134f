"""Labels that do not collide, held to an isotonic regression."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from lorabook.workbook.kit.labels import apart


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8).map(sorted), st.floats(0.01, 0.1))
def test_labels_are_at_the_nearest_positions_that_keeps_the_gap(wanted, gap):
    free = apart(wanted, gap, -10, 10)
    steps = np.arange(len(wanted)) * gap
    nearest = IsotonicRegression().fit_transform(np.arange(len(wanted)), np.array(wanted) - steps) + steps
    assert free == pytest.approx(list(nearest))
    held = apart(wanted, gap, 0, 1)
    assert held[0] >= 0 and held[-1] <= 1 + 1e-9 and all(b - a >= gap - 1e-9 for a, b in pairwise(held))
