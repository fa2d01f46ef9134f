"""Wrong answers to the exercises of notebook 02, as people write them."""

import math

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# step_bytes


@wrong("step_bytes", "left out the block")
def inputs_only(trained, frozen, tokens, blocks, block_input, block_kept, checkpointing):
    per_block = block_input if checkpointing else block_kept
    return 16 * trained + 2 * frozen + 2 * tokens * blocks * per_block


@wrong("step_bytes", "activations of every block")
def never_checkpointing(trained, frozen, tokens, blocks, block_input, block_kept, checkpointing):
    return 16 * trained + 2 * frozen + 2 * tokens * blocks * block_kept


@wrong("step_bytes", "activations of every block")
def inputs_on_top(trained, frozen, tokens, blocks, block_input, block_kept, checkpointing):
    activations = blocks * block_kept
    if checkpointing:
        activations += blocks * block_input
    return 16 * trained + 2 * frozen + 2 * tokens * activations


@wrong("step_bytes", "in both cases")
def always_checkpointing(trained, frozen, tokens, blocks, block_input, block_kept, checkpointing):
    return 16 * trained + 2 * frozen + 2 * tokens * ((blocks - 1) * block_input + block_kept)


@wrong("step_bytes", "left out the inputs")
def one_block_only(trained, frozen, tokens, blocks, block_input, block_kept, checkpointing):
    recomputed = 1 if checkpointing else blocks
    return 16 * trained + 2 * frozen + 2 * tokens * recomputed * block_kept


@wrong("step_bytes", "one block's input")
def one_input(trained, frozen, tokens, blocks, block_input, block_kept, checkpointing):
    values = block_input + block_kept if checkpointing else blocks * block_kept
    return 16 * trained + 2 * frozen + 2 * tokens * values


@wrong("step_bytes", "an input twice")
def all_inputs(trained, frozen, tokens, blocks, block_input, block_kept, checkpointing):
    values = blocks * block_input + block_kept if checkpointing else blocks * block_kept
    return 16 * trained + 2 * frozen + 2 * tokens * values


@wrong("step_bytes", "left out the frozen parameters")
def frozen_forgotten(trained, frozen, tokens, blocks, block_input, block_kept, checkpointing):
    values = (blocks - 1) * block_input + block_kept if checkpointing else blocks * block_kept
    return 16 * trained + 2 * tokens * values


@wrong("step_bytes", "a frozen parameter 16 bytes")
def all_trained(trained, frozen, tokens, blocks, block_input, block_kept, checkpointing):
    values = (blocks - 1) * block_input + block_kept if checkpointing else blocks * block_kept
    return 16 * (trained + frozen) + 2 * tokens * values


@wrong("step_bytes", "too few bytes")
def no_gradients(trained, frozen, tokens, blocks, block_input, block_kept, checkpointing):
    values = (blocks - 1) * block_input + block_kept if checkpointing else blocks * block_kept
    return (4 + 8) * trained + 2 * frozen + 2 * tokens * values


@wrong("step_bytes", "values, not bytes")
def values_for_bytes(trained, frozen, tokens, blocks, block_input, block_kept, checkpointing):
    values = (blocks - 1) * block_input + block_kept if checkpointing else blocks * block_kept
    return 16 * trained + 2 * frozen + tokens * values


@wrong("step_bytes", "each value 4 bytes")
def fp32_activations(trained, frozen, tokens, blocks, block_input, block_kept, checkpointing):
    values = (blocks - 1) * block_input + block_kept if checkpointing else blocks * block_kept
    return 16 * trained + 2 * frozen + 4 * tokens * values


# largest_batch


@wrong("largest_batch", "divided a whole peak")
def average(small, small_peak, large, large_peak, available):
    return int(available / (large_peak / large))


@wrong("largest_batch", "divided a whole peak")
def average_of_the_small_one(small, small_peak, large, large_peak, available):
    return math.floor(available * small / small_peak)


@wrong("largest_batch", "before the first sequence")
def all_of_it_for_sequences(small, small_peak, large, large_peak, available):
    return int(available / ((large_peak - small_peak) / (large - small)))


@wrong("largest_batch", "Add that batch's own")
def beyond_the_small_batch(small, small_peak, large, large_peak, available):
    per_sequence = (large_peak - small_peak) / (large - small)
    return max(0, math.floor((available - small_peak) / per_sequence))


@wrong("largest_batch", "Add that batch's own")
def beyond_the_large_batch(small, small_peak, large, large_peak, available):
    per_sequence = (large_peak - small_peak) / (large - small)
    return max(0, int((available - large_peak) // per_sequence))


@wrong("largest_batch", "differ by more than one")
def undivided(small, small_peak, large, large_peak, available):
    per_sequence = large_peak - small_peak
    return max(0, int((available - small_peak + small * per_sequence) // per_sequence))


@wrong("largest_batch", "rounded up")
def rounded_up(small, small_peak, large, large_peak, available):
    per_sequence = (large_peak - small_peak) / (large - small)
    return max(0, math.ceil((available - small_peak) / per_sequence + small))


@wrong("largest_batch", "a fraction of a sequence")
def not_rounded(small, small_peak, large, large_peak, available):
    per_sequence = (large_peak - small_peak) / (large - small)
    return max(0, (available - small_peak) / per_sequence + small)


@wrong("largest_batch", "negative number of sequences")
def negative(small, small_peak, large, large_peak, available):
    per_sequence = (large_peak - small_peak) / (large - small)
    return math.floor((available - small_peak) / per_sequence) + small
