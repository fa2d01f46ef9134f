"""The exercises of notebook 02: the bytes of a training step."""

import math

from lorabook.workbook.kit.exercise import Exercise, Mistake, cases

# adam_bytes

GIB = 2**30

ADAM_BYTES = Exercise(
    name="adam_bytes",
    task="Bytes that weights, gradients and AdamW's state take in training.",
    stub='''\
def adam_bytes(trained, frozen):
    """Bytes of weights, gradients and optimizer state under AdamW.

    trained: number of trained parameters, in fp32.
    frozen: number of frozen parameters, in fp16.
    """
    raise NotImplementedError
''',
    hint="List what exists once per trained parameter: its weight, its gradient, and what Adam remembers of the past.",
    solution="""\
def adam_bytes(trained, frozen):
    weight, gradient, first_moment, second_moment = 4, 4, 4, 4
    return trained * (weight + gradient + first_moment + second_moment) + 2 * frozen
""",
    praise="16 bytes for what is trained, 2 for what is frozen: freezing is what saves.",
    reference=lambda n, m: 16 * n + 2 * m,
    probes=(
        cases(lambda n, m: f"for {n:,} trained parameters and none frozen", (1_137_207_296, 0), (1000, 0)),
        cases(
            lambda n, m: f"for {n:,} trained parameters and {m:,} frozen",
            (12_091_392, 1_137_207_296),
            (233_472, 3_878_656),
            (0, 1000),
        ),
    ),
    mistakes=(
        Mistake(
            "you counted the weights alone. A trained parameter also has a gradient and Adam's two moments.",
            (lambda n, m: 4 * n,),
        ),
        Mistake("you counted weights and gradients. Adam also keeps two moments, 4 bytes each.", (lambda n, m: 8 * n,)),
        Mistake(
            "you got 12 bytes for a trained parameter. Of weight, gradient and two moments, one is missing.",
            (lambda n, m: 12 * n,),
        ),
        Mistake(
            "you counted a second copy of the weights. Here they are in fp32 already, and there is no other copy.",
            (lambda n, m: 18 * n, lambda n, m: 20 * n),
        ),
        Mistake(
            "you gave another unit. The answer is in bytes, without a division.",
            (
                lambda n, m: 16 * n / GIB,
                lambda n, m: 16 * n / 1e9,
                lambda n, m: 16 * n / 2**20,
                lambda n, m: 16 * n / 1e6,
            ),
        ),
        Mistake(
            "you counted 16 bytes for a frozen parameter too. It has no gradient and no moments, only its weight.",
            (lambda n, m: 16 * (n + m),),
        ),
        Mistake(
            "you forgot the frozen parameters. They aren't trained, but their weights are still in memory.",
            (lambda n, m: 16 * n,),
        ),
        Mistake(
            "you counted 4 bytes for a frozen parameter. It is in fp16, and has no gradient: 2 bytes in all.",
            (lambda n, m: 16 * n + 4 * m,),
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
    logits: bytes of the logits of one sequence, computed in one go.
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


EXERCISES = (ADAM_BYTES, LARGEST_BATCH)
