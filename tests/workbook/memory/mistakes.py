"""Wrong answers to the exercises of notebook 02, as people write them."""

import math

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# block_values


@wrong("block_values", "LoRA needs them, too")
def as_if_frozen(hidden, mlp, key):
    return 2 * hidden + 2 * hidden + 2 * key + mlp


@wrong("block_values", "too few vectors")
def one_input_of_two(hidden, mlp, key):
    return hidden + mlp + 2 * hidden + 2 * hidden + 2 * key + mlp


@wrong("block_values", "mlp once")
def one_mlp(hidden, mlp, key):
    return 6 * hidden + mlp + 2 * key


@wrong("block_values", "output twice")
def four_layers(hidden, mlp, key):
    inputs = 3 * hidden + mlp  # of all four linear layers
    return inputs + 2 * hidden + 2 * hidden + 2 * key + mlp


@wrong("block_values", "key once")
def key_without_value(hidden, mlp, key):
    return 6 * hidden + 2 * mlp + key


@wrong("block_values", "left out the shared key")
def no_keys(hidden, mlp, key):
    return 6 * hidden + 2 * mlp


@wrong("block_values", "linear layers only")
def linear_inputs_alone(hidden, mlp, key):
    return 2 * hidden + mlp


@wrong("block_values", "too few vectors")
def no_norms(hidden, mlp, key):
    return 4 * hidden + 2 * mlp + 2 * key


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
