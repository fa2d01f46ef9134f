"""The exercises of notebook 02: the bytes of a training step."""

import math

from lorabook.workbook.kit.exercise import Exercise, Mistake, cases

GIB = 2**30

# step_bytes


def _bytes(trained=16, frozen=2, value=2, inputs=lambda blocks: blocks - 1, recomputed=lambda blocks: 1):
    """A right answer whose decisions can be changed one at a time."""

    def answer(parameters, fixed, tokens, blocks, block_input, block_kept, checkpointing):
        values = (
            inputs(blocks) * block_input + recomputed(blocks) * block_kept if checkpointing else blocks * block_kept
        )
        return trained * parameters + frozen * fixed + value * tokens * values

    return answer


def _same(checkpointing: bool):
    """An answer that doesn't look at `checkpointing`."""

    def answer(parameters, fixed, tokens, blocks, block_input, block_kept, _):
        return _bytes()(parameters, fixed, tokens, blocks, block_input, block_kept, checkpointing)

    return answer


STEP_BYTES = Exercise(
    name="step_bytes",
    task="An estimate of the peak of a training step with LoRA.",
    stub='''\
def step_bytes(trained, frozen, tokens, blocks, block_input, block_kept, checkpointing):
    """An estimate of the peak of a training step with LoRA and AdamW, in bytes.

    trained, frozen: numbers of parameters.
    tokens: tokens in the batch. blocks: number of blocks in the model.
    block_input, block_kept: values per token, a block's input and all that it keeps.
    checkpointing: True if each block keeps only its input.
    """
    raise NotImplementedError
''',
    hint="16 bytes for a trained parameter, 2 for a frozen one, and 2 for each value that is kept. With checkpointing, "
    "only the block that is being recomputed keeps more than its input.",
    solution="""\
def step_bytes(trained, frozen, tokens, blocks, block_input, block_kept, checkpointing):
    if checkpointing:
        values = block_kept + (blocks - 1) * block_input
    else:
        values = blocks * block_kept
    return 16 * trained + 2 * frozen + 2 * tokens * values
""",
    praise="parameters once, and the values that are kept once per token.",
    reference=_bytes(),
    probes=(
        cases(
            lambda trained, frozen, tokens, blocks, block_input, block_kept, checkpointing: (
                f"for {trained:,} trained, {frozen:,} frozen, {tokens:,} tokens and checkpointing = {checkpointing}"
            ),
            (11_108_352, 1_137_207_296, 2048, 24, 2048, 28_928, False),
            (11_108_352, 1_137_207_296, 2048, 24, 2048, 28_928, True),
            (58_368, 3_888_384, 512, 4, 256, 3_600, True),
        ),
    ),
    mistakes=(
        Mistake(
            "you left out the block that is being recomputed. All its activations are in memory for a while.",
            (_bytes(recomputed=lambda blocks: 0), _bytes(inputs=lambda blocks: blocks, recomputed=lambda blocks: 0)),
        ),
        Mistake(
            "you kept the activations of every block. With checkpointing, only one block at a time has them.",
            (
                _same(False),
                _bytes(recomputed=lambda blocks: blocks),
                _bytes(inputs=lambda blocks: blocks, recomputed=lambda blocks: blocks),
            ),
        ),
        Mistake(
            "you used checkpointing in both cases. Without it, every block keeps all its activations.",
            (_same(True),),
        ),
        Mistake(
            "you left out the inputs. With checkpointing, each of the other blocks keeps its own.",
            (_bytes(inputs=lambda blocks: 0),),
        ),
        Mistake(
            "you counted one block's input. Every other block keeps its own.",
            (_bytes(inputs=lambda blocks: 1),),
        ),
        Mistake(
            "you counted an input twice. That of the block being recomputed is among its activations.",
            (_bytes(inputs=lambda blocks: blocks),),
        ),
        Mistake(
            "you left out the frozen parameters. Their weights take 2 bytes each.",
            (_bytes(frozen=0),),
        ),
        Mistake(
            "you gave a frozen parameter 16 bytes. It has no gradient and no moments, and its weight takes 2 bytes.",
            (_bytes(frozen=16),),
        ),
        Mistake(
            "you gave a trained parameter too few bytes. Its weight, gradient and two moments take 4 bytes each.",
            (_bytes(trained=4), _bytes(trained=8), _bytes(trained=12)),
        ),
        Mistake(
            "you counted values, not bytes. In 16 bits, each takes 2 bytes.",
            (_bytes(value=1),),
        ),
        Mistake(
            "you gave each value 4 bytes. In mixed precision, most take 2.",
            (_bytes(value=4),),
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


EXERCISES = (STEP_BYTES, LARGEST_BATCH)
