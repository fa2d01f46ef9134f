"""Right answers to the exercises of notebook 02, as people write them."""

import numpy as np

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


add(
    "step_bytes",
    "one expression",
    lambda n, m, t, b, x, k, c: 2 * (8 * n + m + t * ((b - 1) * x + k if c else b * k)),
)


@right("step_bytes")
def tensor_by_tensor(trained, frozen, tokens, blocks, block_input, block_kept, checkpointing):
    weights, gradients, moments = 4 * trained + 2 * frozen, 4 * trained, 8.0 * trained
    full_blocks, inputs = (1, blocks - 1) if checkpointing else (blocks, 0)
    return weights + gradients + moments + 2 * tokens * block_kept * full_blocks + 2 * tokens * block_input * inputs


@right("step_bytes")
def block_by_block(trained, frozen, tokens, blocks, block_input, block_kept, checkpointing):
    values = sum(block_input if checkpointing else block_kept for _ in range(blocks - 1))
    values += block_kept
    return trained * 16 + frozen * 2 + values * 2 * tokens


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
