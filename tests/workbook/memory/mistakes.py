"""Wrong answers to the exercises of notebook 02, as people write them."""

import math

import numpy as np

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# checkpointed_peak


@wrong("checkpointed_peak", "being recomputed")
def inputs_only(trained, frozen, tokens, blocks, block_input, block_kept):
    checkpoints = blocks * tokens * block_input
    return max(12 * trained + 2 * frozen + checkpoints, 20 * trained + 2 * frozen)


@wrong("checkpointed_peak", "every block")
def as_without_checkpointing(trained, frozen, tokens, blocks, block_input, block_kept):
    kept = block_kept * tokens * blocks
    return max(12 * trained + kept, 20 * trained) + 2 * frozen


@wrong("checkpointed_peak", "left out the inputs")
def one_block_only(trained, frozen, tokens, blocks, block_input, block_kept):
    return 2 * frozen + max(12 * trained + tokens * block_kept, 20 * trained)


@wrong("checkpointed_peak", "one block's input")
def one_input(trained, frozen, tokens, blocks, block_input, block_kept):
    return 2 * frozen + max(12 * trained + tokens * (block_input + block_kept), 20 * trained)


@wrong("checkpointed_peak", "frozen parameters")
def frozen_forgotten(trained, frozen, tokens, blocks, block_input, block_kept):
    return np.maximum(12 * trained + tokens * (blocks * block_input + block_kept), 20 * trained)


@wrong("checkpointed_peak", "added the two points")
def both_points(trained, frozen, tokens, blocks, block_input, block_kept):
    return 32 * trained + 4 * frozen + tokens * (blocks * block_input + block_kept)


@wrong("checkpointed_peak", "left out the optimizer step")
def forward_alone(trained, frozen, tokens, blocks, block_input, block_kept):
    return 12 * trained + 2 * frozen + tokens * (blocks * block_input + block_kept)


@wrong("checkpointed_peak", "gave the optimizer step")
def optimizer_alone(trained, frozen, tokens, blocks, block_input, block_kept):
    return trained * 20 + frozen * 2


@wrong("checkpointed_peak", "in the optimizer step, too")
def everything_at_once(trained, frozen, tokens, blocks, block_input, block_kept):
    return 20 * trained + 2 * frozen + tokens * (blocks * block_input + block_kept)


@wrong("checkpointed_peak", "16-bit copies")
def copies_kept(trained, frozen, tokens, blocks, block_input, block_kept):
    return 2 * frozen + max(14 * trained + tokens * (blocks * block_input + block_kept), 20 * trained)


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
