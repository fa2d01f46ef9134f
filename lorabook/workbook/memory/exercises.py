"""The exercises of notebook 02: what a training step keeps."""

import math

from lorabook.workbook.kit.exercise import Exercise, Mistake, cases

GIB = 2**30

# block_values


def _values(linear=2, projection=1, norms=2, attention=2, keys=2, activation=1):
    """A right answer whose rows of the table can be changed one at a time."""

    def answer(hidden, mlp, key):
        return (linear + norms + attention) * hidden + (projection + activation) * mlp + keys * key

    return answer


BLOCK_VALUES = Exercise(
    name="block_values",
    task="How many values a block with LoRA keeps per token.",
    stub='''\
def block_values(hidden, mlp, key):
    """How many values per token a block keeps with LoRA on all its linear layers, as
    in the table above.

    hidden: the size of the block's input, of its queries and of attention's output.
    mlp: the size of the output of `c_fc`.
    key: the size of the shared key, and of the shared value.
    """
    raise NotImplementedError
''',
    hint="Go through the table row by row: which entries are 2,048, which 8,192, and which 128?",
    solution="""\
def block_values(hidden, mlp, key):
    linear_inputs = 2 * hidden + mlp  # c_attn, c_fc and the MLP's c_proj
    norms = 2 * hidden
    attention = 2 * hidden + 2 * key  # queries and output, key and value
    gelu = mlp
    return linear_inputs + norms + attention + gelu
""",
    praise="a block twice as wide keeps nearly twice as much.",
    reference=_values(),
    probes=(
        cases(
            lambda hidden, mlp, key: f"for hidden = {hidden:,}, mlp = {mlp:,} and key = {key:,}",
            (2048, 8192, 128),
            (4096, 16_384, 128),
            (256, 1000, 64),
        ),
    ),
    mistakes=(
        Mistake(
            "you left out the inputs of the linear layers. LoRA needs them, too, for A's gradient.",
            (_values(linear=0, projection=0),),
        ),
        Mistake(
            "you have too few vectors of size hidden: two inputs of linear layers, two of norms, queries and output.",
            tuple(_values(linear=number) for number in (1, 0, -1)),
        ),
        Mistake(
            "you counted mlp once. The MLP keeps it twice: as the input of GELU, and as that of its c_proj.",
            (_values(projection=0),),
        ),
        Mistake(
            "you counted attention's output twice. It's the input of attention's c_proj, but kept only once.",
            (_values(linear=3),),
        ),
        Mistake(
            "you counted key once. There's a shared key and a shared value of that size.",
            (_values(keys=1),),
        ),
        Mistake(
            "you left out the shared key and value.",
            (_values(keys=0),),
        ),
        Mistake(
            "you counted the inputs of linear layers only. Norms, attention and GELU keep theirs, too.",
            (_values(norms=0, attention=0, keys=0, activation=0),),
        ),
    ),
)

# largest_batch


def _batch(per=lambda n, p, m, q: (q - p) / (m - n), fixed=lambda n, p, per: p - n * per, whole=math.floor, least=0):
    """A right answer whose decisions can be changed one at a time; n and m sequences had the peaks p and q."""

    def answer(small, small_peak, large, large_peak, available):
        sequence = per(small, small_peak, large, large_peak)
        return max(least, whole((available - fixed(small, small_peak, sequence)) / sequence))

    return answer


LARGEST_BATCH = Exercise(
    name="largest_batch",
    task="The largest batch that fits, from the peaks of two small ones.",
    stub='''\
def largest_batch(small, small_peak, large, large_peak, available):
    """The largest number of sequences whose peak is at most `available` bytes; 0 if
    not even one fits.

    small, large: the numbers of sequences in two batches that were measured.
    small_peak, large_peak: their peaks in bytes.
    """
    raise NotImplementedError
''',
    hint="How many bytes does one more sequence take? And how many are there without any?",
    solution="""\
def largest_batch(small, small_peak, large, large_peak, available):
    sequence = (large_peak - small_peak) / (large - small)
    fixed = small_peak - small * sequence
    return max(0, int((available - fixed) // sequence))
""",
    praise="two peaks give the straight line, and the line gives the batch.",
    reference=_batch(),
    probes=(
        cases(
            lambda n, p, m, q, room: (
                f"for peaks of {p / GIB:.2f} GiB with {n} and {q / GIB:.2f} with {m}, and {room / GIB:.2f} available"
            ),
            (4, int(5.63 * GIB), 8, int(8.90 * GIB), int(13.75 * GIB)),
            (1, 3 * GIB, 3, 4 * GIB, 8 * GIB),  # fits 11 times, and nothing is left
            (2, 9 * GIB, 5, 12 * GIB, 21 * GIB + GIB // 4 * 3),  # fits 14 times, and three quarters are left
        ),
        cases(lambda *_: "for a GPU too small for what doesn't grow,", (2, 5 * GIB, 4, 6 * GIB, 3 * GIB)),
    ),
    mistakes=(
        Mistake(
            "you divided a whole peak by its sequences. Part of it doesn't grow with them.",
            (
                lambda n, p, m, q, room: int(room // (p / n)),
                lambda n, p, m, q, room: int(room // (q / m)),
                _batch(per=lambda n, p, m, q: p / n),
                _batch(per=lambda n, p, m, q: q / m),
            ),
        ),
        Mistake(
            "you left out what's there before the first sequence, such as the weights.",
            (_batch(fixed=lambda n, p, per: 0),),
        ),
        Mistake(
            "you counted only the sequences that fit besides a batch you measured. Add that batch's own.",
            (_batch(fixed=lambda n, p, per: p), lambda n, p, m, q, room: int((room - q) // ((q - p) / (m - n)))),
        ),
        Mistake(
            "you took the difference of the peaks for one sequence. The batches differ by more than one.",
            (_batch(per=lambda n, p, m, q: q - p),),
        ),
        Mistake(
            "you rounded up. The last sequence wouldn't fit whole.",
            (_batch(whole=math.ceil), _batch(whole=round)),
        ),
        Mistake(
            "you gave a fraction of a sequence. Round it down.",
            (_batch(whole=lambda number: number),),
        ),
        Mistake(
            "you gave a negative number of sequences. If not even one fits, it's 0.",
            (_batch(least=-99), _batch(least=-99, whole=int)),
        ),
    ),
)


EXERCISES = (BLOCK_VALUES, LARGEST_BATCH)
