"""Right answers to the exercises of notebook 02, as people write them."""

import math

import numpy as np

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


add(
    "checkpointed_peak",
    "frozen once",
    lambda n, m, t, b, x, k: 2 * m + max(12 * n + t * (b * x + k), 20 * n),
)


add(
    "checkpointed_peak",
    "floats",
    lambda n, m, t, b, x, k: 20.0 * n + 2.0 * m + max(0.0, t * b * x + t * k - 8.0 * n),
)


@right("checkpointed_peak")
def moment_by_moment(trained, frozen, tokens, blocks, block_input, block_kept):
    weights, moments = 4 * trained + 2 * frozen, 8 * trained
    moments_of_the_step = [weights + moments + blocks * tokens * block_input + tokens * block_kept]
    gradients, workspace = 4 * trained, 4 * trained
    moments_of_the_step.append(weights + moments + gradients + workspace)
    return max(moments_of_the_step)


@right("largest_batch")
def grown_one_by_one(static, sequence, logits):
    batch = 0
    while static + (batch + 1) * (sequence + logits) <= 14.75 * 2**30:
        batch += 1
    return batch


add("largest_batch", "floor", lambda s, q, g: max(math.floor((14.75 * 1024**3 - s) / (q + g)), 0))
add("largest_batch", "whole numbers", lambda s, q, g: 0 if s > 59 * 2**28 else (59 * 2**28 - s) // (q + g))
add("largest_batch", "a float", lambda s, q, g: max(0.0, (14.75 * 2**30 - s) // (q + g)))
add("largest_batch", "NumPy", lambda s, q, g: np.clip(np.floor((14.75 * 2**30 - s) / (q + g)), 0, None))
