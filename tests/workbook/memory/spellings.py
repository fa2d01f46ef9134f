"""Right answers to the exercises of notebook 02, as people write them."""

import math

import numpy as np
import torch

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


add("adam_bytes", "16 and 2", lambda trained, frozen: 16 * trained + 2 * frozen)
add("adam_bytes", "floats", lambda trained, frozen: 16.0 * trained + 2.0 * frozen)
add("adam_bytes", "bits", lambda trained, frozen: (4 * 32 * trained + 16 * frozen) // 8)
add(
    "adam_bytes",
    "element sizes",
    lambda trained, frozen: trained * 4 * torch.float32.itemsize + frozen * torch.float16.itemsize,
)


@right("adam_bytes")
def summed_up(trained, frozen):
    total = 0
    for _ in ("weight", "gradient", "first moment", "second moment"):
        total += 4 * trained
    return total + frozen * 2


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
