"""Right answers to the exercises of notebook 02, as people write them."""

import numpy as np

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


add("block_values", "one expression", lambda h, m, k: 6 * h + 2 * (m + k))


@right("block_values")
def entry_by_entry(hidden, mlp, key):
    frozen = [hidden, hidden, hidden, hidden, key, key, mlp]
    return sum([*frozen, hidden, hidden, mlp])


@right("block_values")
def as_a_float(hidden, mlp, key):
    return hidden * 6.0 + mlp * 2.0 + key * 2.0


@right("largest_batch")
def grown_one_by_one(small, small_peak, large, large_peak, available):
    batch, peak = 0, small_peak - small * (large_peak - small_peak) // (large - small)
    while peak + (large_peak - small_peak) / (large - small) * (batch + 1) <= available:
        batch += 1
    return batch


@right("largest_batch")
def a_fitted_line(small, small_peak, large, large_peak, available):
    slope, fixed = np.polyfit([small, large], [small_peak, large_peak], 1)
    return np.clip(np.floor((available - fixed) / slope + 1e-9), 0, None)


add(
    "largest_batch",
    "from the large batch",
    lambda n, p, m, q, room: max(0, int(m + (room - q) / ((q - p) / (m - n)) // 1)),
)
