"""Right answers to the exercises of notebook 00, as people write them."""

import numpy as np
import torch

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


@right("lora_size")
def counted(d, k, r):
    B, A = torch.zeros(d, r), torch.zeros(r, k)
    return B.numel() + A.numel()


@right("lora_size")
def added_row_by_row(d, k, r):
    total = 0
    for _ in range(r):
        total += d
        total += k
    return total


add("lora_size", "factored", lambda d, k, r: r * (d + k))
add("lora_size", "a float", lambda d, k, r: float(d * r) + float(r * k))
add("lora_size", "NumPy", lambda d, k, r: np.prod([d, r]) + np.prod([r, k]))
add("lora_size", "a tensor", lambda d, k, r: torch.tensor(d * r + r * k))
