"""The exercises of notebook 02: the bytes of a training step."""

import math

from lorabook.workbook.kit.exercise import Exercise, Mistake, cases

GIB = 2**30

# checkpointed_peak


def _peak(before=12, after=20, frozen=2, inputs=lambda blocks: blocks, recomputed=lambda blocks: 1, of=max):
    """A right answer whose decisions can be changed one at a time."""

    def answer(trained, fixed, tokens, blocks, block_input, block_kept):
        activations = tokens * (inputs(blocks) * block_input + recomputed(blocks) * block_kept)
        return of(before * trained + frozen * fixed + activations, after * trained + frozen * fixed)

    return answer


CHECKPOINTED_PEAK = Exercise(
    name="checkpointed_peak",
    task="The peak of a training step with activation checkpointing.",
    stub='''\
def checkpointed_peak(trained, frozen, tokens, blocks, block_input, block_kept):
    """The peak bytes of a step with AdamW, mixed precision and activation checkpointing.

    trained, frozen: numbers of parameters.
    tokens: tokens in the batch. blocks: number of blocks in the model.
    block_input: bytes per token of a block's input.
    block_kept: bytes per token that a block keeps while it is recomputed.
    Leave out the loss and other small things.
    """
    raise NotImplementedError
''',
    hint="What is in memory at each point? The larger sum counts. AdamW's workspace takes 4 bytes per parameter.",
    solution="""\
def checkpointed_peak(trained, frozen, tokens, blocks, block_input, block_kept):
    activations = tokens * (blocks * block_input + block_kept)
    before = 12 * trained + 2 * frozen + activations
    optimizer_step = 20 * trained + 2 * frozen
    return max(before, optimizer_step)
""",
    praise="every block's input, and one block's activations: for StarCoder with LoRA, 2.6 GiB.",
    reference=_peak(),
    probes=(
        cases(
            lambda trained, frozen, tokens, *_: f"for {trained:,} trained, {frozen:,} frozen and {tokens:,} tokens",
            (11_108_352, 1_137_207_296, 2048, 24, 4096, 66_560),
            (1_137_207_296, 0, 2048, 24, 8192, 66_560),
            (1_000, 0, 1, 2, 500, 3_000),
        ),
    ),
    mistakes=(
        Mistake(
            "you left out the block that is being recomputed. All its activations are in memory for a while.",
            (_peak(recomputed=lambda blocks: 0),),
        ),
        Mistake(
            "you kept the activations of every block. With checkpointing, only one block at a time has them.",
            (_peak(recomputed=lambda blocks: blocks), _peak(inputs=lambda blocks: 0, recomputed=lambda blocks: blocks)),
        ),
        Mistake(
            "you left out the inputs. Each block keeps its own until the backward pass reaches it.",
            (_peak(inputs=lambda blocks: 0),),
        ),
        Mistake(
            "you counted one block's input. Every block keeps its own.",
            (_peak(inputs=lambda blocks: 1),),
        ),
        Mistake(
            "you left out the frozen parameters. Their weights take 2 bytes each.",
            (_peak(frozen=0),),
        ),
        Mistake(
            "you added the two points. They come one after the other, so the larger one is the peak.",
            (_peak(of=lambda *points: sum(points)),),
        ),
        Mistake(
            "you left out the optimizer step. Without activations, a trained parameter takes 20 bytes there.",
            (_peak(of=lambda before, after: before), _peak(after=16)),
        ),
        Mistake(
            "you gave the optimizer step. With many tokens and few trained parameters, the peak comes before it.",
            (_peak(of=lambda before, after: after),),
        ),
        Mistake(
            "you counted activations in the optimizer step, too. By then, they are freed.",
            (_peak(before=20),),
        ),
        Mistake(
            "you counted 16-bit copies of the trainable weights. With checkpointing, no activations hold on to them.",
            (_peak(before=14),),
        ),
    ),
)

# largest_batch


LARGEST_BATCH = Exercise(
    name="largest_batch",
    task="How many sequences a training step can hold on a T4.",
    stub='''\
def largest_batch(static, sequence, logits):
    """The largest whole number of sequences in a batch on a T4, which offers 14.75 GiB;
    0 if not even one fits.

    static: bytes that do not depend on the batch.
    sequence: bytes of the activations of one sequence.
    logits: bytes of the logits of one sequence, their log-probabilities and gradient.
    """
    raise NotImplementedError
''',
    hint="Which of the three grow with the batch? Subtract the rest from the GPU's memory first. A GiB is 2**30 bytes.",
    solution="""\
def largest_batch(static, sequence, logits):
    free = 14.75 * 2**30 - static
    return max(0, int(free // (sequence + logits)))
""",
    praise="the static part is paid once, activations and logits once per sequence.",
    reference=lambda static, row, logits: max(0, int((14.75 * GIB - static) // (row + logits))),
    probes=(
        cases(
            lambda s, r, g: f"for static = {s:,}, sequence = {r:,} and logits = {g:,} bytes",
            (2_534_000_000, 1_360_000_000, 402_653_184),
            (62_000_000, 14_000_000, 8_400_000),
            (3 * GIB, GIB // 4, GIB // 4 * 3),  # fits 11 times, and three quarters of a sequence are left
            (2 * GIB + GIB // 4 * 3, GIB // 2, GIB // 4),  # fits 16 times, and nothing is left
        ),
        cases(lambda s, r, g: f"for static = {s:,} bytes, more than the GPU has,", (18_195_316_736, GIB, GIB)),
    ),
    mistakes=(
        Mistake(
            "you multiplied the static part by the batch too. Weights and optimizer state are there once.",
            (lambda s, r, g: int(14.75 * GIB // (s + r + g)),),
        ),
        Mistake(
            "you forgot the logits. Every sequence has its own.",
            (lambda s, r, g: int((14.75 * GIB - s) // r), lambda s, r, g: int((14.75 * GIB - s - g) // r)),
        ),
        Mistake(
            "you took GB for GiB. A GiB is 2**30 bytes, 7% more than 10**9.",
            (lambda s, r, g: int((14.75e9 - s) // (r + g)),),
        ),
        Mistake(
            "you took 16 GB for the GPU. That is the number on the box; 14.75 GiB is what a program can use.",
            (lambda s, r, g: int((16 * GIB - s) // (r + g)), lambda s, r, g: int((16e9 - s) // (r + g))),
        ),
        Mistake(
            "you forgot the static part. It is there before the first sequence.",
            (lambda s, r, g: int(14.75 * GIB // (r + g)),),
        ),
        Mistake(
            "you rounded up. The last sequence would not fit whole.",
            (
                lambda s, r, g: math.ceil((14.75 * GIB - s) / (r + g)),
                lambda s, r, g: round((14.75 * GIB - s) / (r + g)),
            ),
        ),
        Mistake(
            "you gave a fraction of a sequence. Round it down to whole sequences.",
            (lambda s, r, g: (14.75 * GIB - s) / (r + g),),
        ),
        Mistake(
            "you gave a negative number of sequences. Where the static part alone is too large, nothing fits: 0.",
            (lambda s, r, g: int((14.75 * GIB - s) // (r + g)), lambda s, r, g: int((14.75 * GIB - s) / (r + g))),
        ),
    ),
)


EXERCISES = (CHECKPOINTED_PEAK, LARGEST_BATCH)
