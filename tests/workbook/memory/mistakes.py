"""Wrong answers to the exercises of notebook 02, as people write them."""

import math

import numpy as np

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# adam_bytes


@wrong("adam_bytes", "the weights alone")
def weights_only(trained, frozen):
    bytes_per_parameter = 4
    return bytes_per_parameter * trained + 2 * frozen


@wrong("adam_bytes", "Adam also keeps two moments")
def weights_and_gradients(trained, frozen):
    weights = 4 * trained
    gradients = weights
    return weights + gradients + 2 * frozen


@wrong("adam_bytes", "one is missing")
def one_moment(trained, frozen):
    return sum(4 * trained for _ in ("weight", "gradient", "momentum")) + 2 * frozen


@wrong("adam_bytes", "one is missing")
def gradient_forgotten(trained, frozen):
    return trained * 4 + trained * 2 * 4 + frozen * 2


@wrong("adam_bytes", "second copy of the weights")
def fp16_copy_too(trained, frozen):
    return (2 + 16) * trained + 2 * frozen


@wrong("adam_bytes", "16 bytes for a frozen parameter")
def frozen_also_16(trained, frozen):
    parameters = trained + frozen
    return parameters * 16


@wrong("adam_bytes", "forgot the frozen parameters")
def frozen_forgotten(trained, frozen):
    return np.int64(trained) * 16


@wrong("adam_bytes", "4 bytes for a frozen parameter")
def frozen_in_fp32(trained, frozen):
    return 4 * (trained + frozen) + 4 * trained + 8 * trained


@wrong("adam_bytes", "another unit")
def in_gib(trained, frozen):
    return (16 * trained + 2 * frozen) / 1024**3


# largest_batch


@wrong("largest_batch", "static part by the batch too")
def static_part_scaled(static, row, logits):
    rows = 0
    while (rows + 1) * (static + row + logits) <= 14.75 * 2**30:
        rows += 1
    return rows


@wrong("largest_batch", "forgot the logits")
def logits_forgotten(static, row, logits):
    return max(0, math.floor((14.75 * 1024**3 - static) / row))


@wrong("largest_batch", "GB for GiB")
def gb_for_gib(static, row, logits):
    return max(0, int((14.75 * 1000**3 - static) / (row + logits)))


@wrong("largest_batch", "16 GB for the GPU")
def sixteen_gib(static, row, logits):
    gpu = 16 * 1024**3
    return max(0, (gpu - static) // (row + logits))


@wrong("largest_batch", "16 GB for the GPU")
def sixteen_gb(static, row, logits):
    return max(0, int((16e9 - static) // (row + logits)))


@wrong("largest_batch", "forgot the static part")
def static_part_forgotten(static, row, logits):
    return int(14.75 * 2**30 / (row + logits))


@wrong("largest_batch", "rounded up")
def rounded_up(static, row, logits):
    return max(0, math.ceil((14.75 * 2**30 - static) / (row + logits)))


@wrong("largest_batch", "a fraction of a sequence")
def not_rounded(static, row, logits):
    return max(0, (14.75 * 2**30 - static) / (row + logits))


@wrong("largest_batch", "negative number of sequences")
def negative(static, row, logits):
    return math.floor((14.75 * 2**30 - static) / (row + logits))
