"""The exercises of notebook 02: the bytes of a training step, its labels, its loss."""

import math

import torch
import torch.nn.functional as F

from lorabook.workbook.kit.exercise import Exercise, Mistake, cases, drawn

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
            "you came to 12 bytes for a trained parameter: of weight, gradient and two moments one is missing.",
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
            "you forgot the frozen parameters. They are not trained, and yet their weights lie in memory.",
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
    task="How many rows a training step can hold on a T4.",
    stub='''\
def largest_batch(static, row, logits):
    """The largest whole number of rows in a batch on a T4, which offers 14.75 GiB; 0 if not even one fits.

    static: bytes of weights, gradients and optimizer state.
    row: bytes of the activations of one row.
    logits: bytes of the logits of one row.
    """
    raise NotImplementedError
''',
    hint="Which of the three grow with the batch? Take the others off the card first. One GiB is 2**30 bytes.",
    solution="""\
def largest_batch(static, row, logits):
    free = 14.75 * 2**30 - static
    return max(0, int(free // (row + logits)))
""",
    praise="the static part is paid once, activations and logits once a row.",
    reference=lambda static, row, logits: max(0, int((14.75 * GIB - static) // (row + logits))),
    probes=(
        cases(
            lambda s, r, g: f"for static = {s:,}, row = {r:,} and logits = {g:,} bytes",
            (2_534_000_000, 1_360_000_000, 402_653_184),
            (62_000_000, 14_000_000, 8_400_000),
            (3 * GIB, GIB // 4, GIB // 4 * 3),  # fits 11 times, and three quarters of a row are left
            (2 * GIB + GIB // 4 * 3, GIB // 2, GIB // 4),  # fits 16 times, and nothing is left
        ),
        cases(lambda s, r, g: f"for static = {s:,} bytes, more than the card has,", (18_195_316_736, GIB, GIB)),
    ),
    mistakes=(
        Mistake(
            "you multiplied the static part by the batch too. Weights and optimizer state are there once.",
            (lambda s, r, g: int(14.75 * GIB // (s + r + g)),),
        ),
        Mistake(
            "you forgot the logits. Every row brings its own.",
            (lambda s, r, g: int((14.75 * GIB - s) // r), lambda s, r, g: int((14.75 * GIB - s - g) // r)),
        ),
        Mistake(
            "you took GB for GiB. A GiB is 2**30 bytes, 7% more than 10**9.",
            (lambda s, r, g: int((14.75e9 - s) // (r + g)),),
        ),
        Mistake(
            "you took 16 for the card. 16 GB is the T4's name; 14.75 GiB is what a program can have.",
            (lambda s, r, g: int((16 * GIB - s) // (r + g)), lambda s, r, g: int((16e9 - s) // (r + g))),
        ),
        Mistake(
            "you forgot the static part. It is there before the first row.",
            (lambda s, r, g: int(14.75 * GIB // (r + g)),),
        ),
        Mistake(
            "you rounded up. The last row would not fit whole.",
            (
                lambda s, r, g: math.ceil((14.75 * GIB - s) / (r + g)),
                lambda s, r, g: round((14.75 * GIB - s) / (r + g)),
            ),
        ),
        Mistake(
            "you gave a fraction of a row. Round it down to whole rows.", (lambda s, r, g: (14.75 * GIB - s) / (r + g),)
        ),
        Mistake(
            "you gave a negative number of rows. Where the static part alone is too large, nothing fits: 0.",
            (lambda s, r, g: int((14.75 * GIB - s) // (r + g)), lambda s, r, g: int((14.75 * GIB - s) / (r + g))),
        ),
    ),
)


# answer_labels


def _labels(ids, keep):
    """The ids at the places where `keep` holds, -100 elsewhere."""
    return [token if keep(t) else -100 for t, token in enumerate(ids)]


ANSWER_LABELS = Exercise(
    name="answer_labels",
    task="The labels of one padded row: the answer's ids at the answer's places, -100 everywhere else.",
    stub='''\
def answer_labels(ids, start, length):
    """Labels for a model that shifts them itself, one label for every id.

    ids: list of token ids: question, answer, end token (id 0), then padding (id 0 as well).
    start: where the answer begins.
    length: how many tokens are real; what follows is padding.
    """
    raise NotImplementedError
''',
    hint="Three pieces in a row: the question's places, the answer's, the padding's. Do not ask what an id is.",
    solution="""\
def answer_labels(ids, start, length):
    question, padding = [-100] * start, [-100] * (len(ids) - length)
    return question + ids[start:length] + padding
""",
    praise="the answer and its end token carry labels; question and padding do not.",
    reference=lambda ids, start, length: _labels(ids, lambda t: start <= t < length),
    probes=(
        cases(
            lambda ids, start, length: f"for {len(ids)} ids, start = {start}, length = {length}",
            ([11, 12, 13, 21, 0, 22, 0], 3, 7),  # an end token inside the answer too
            ([11, 12, 13, 21, 22, 23, 0, 0, 0, 0], 3, 7),
            ([11, 0, 13, 14, 0, 0, 0], 4, 5),  # an answer that is nothing but the end
            ([11, 21, 22, 23, 24], 1, 5),  # cut to the maximum length: no end token, no padding
        ),
    ),
    mistakes=(
        Mistake(
            "you shifted the labels. The model shifts them itself, so they would be shifted twice: a label "
            "stands at its own token's place.",
            (
                lambda ids, start, length: _labels([*ids[1:], -100], lambda t: start - 1 <= t < length - 1),
                lambda ids, start, length: _labels([*ids[1:], -100], lambda t: start <= t < length - 1),
                lambda ids, start, length: _labels([*ids[1:], -100], lambda t: start <= t < length),
                lambda ids, start, length: _labels([-100, *ids[:-1]], lambda t: start < t <= length),
            ),
        ),
        Mistake(
            "you masked by id, so the end token has no label and the model never learns to stop. Mask by place.",
            (lambda ids, start, length: _labels(ids, lambda t: t >= start and ids[t] != 0),),
        ),
        Mistake(
            "you laid the answer's ids over the places of the question. Label t belongs to id t.",
            (
                lambda ids, start, length: ids[start:length] + [-100] * (len(ids) - length + start),
                lambda ids, start, length: ids[start:] + [-100] * start,
            ),
        ),
        Mistake(
            "you kept the padding. It would teach the model to repeat the end token; -100 from `length` on.",
            (lambda ids, start, length: _labels(ids, lambda t: t >= start),),
        ),
        Mistake(
            "you kept the question. Then the model also learns to write questions; -100 before `start`.",
            (lambda ids, start, length: _labels(ids, lambda t: t < length),),
        ),
        Mistake(
            "you labelled every token. Neither question nor padding has a label.", (lambda ids, start, length: ids,)
        ),
        Mistake(
            "you dropped the last real token. That is the end token, by which the model learns to stop.",
            (lambda ids, start, length: _labels(ids, lambda t: start <= t < length - 1),),
        ),
        Mistake(
            "you dropped the first token of the answer, at place `start`.",
            (lambda ids, start, length: _labels(ids, lambda t: start < t < length),),
        ),
        Mistake(
            "you masked the answer and labelled the question: the other way round.",
            (
                lambda ids, start, length: _labels(ids, lambda t: t < start),
                lambda ids, start, length: _labels(ids, lambda t: not start <= t < length),
            ),
        ),
        Mistake(
            "you filled with 0, which is a token. The loss leaves out -100 and nothing else.",
            (lambda ids, start, length: [i if start <= t < length else 0 for t, i in enumerate(ids)],),
        ),
        Mistake(
            "you gave the mask. Labels are the ids where the mask is true, and -100 elsewhere.",
            (lambda ids, start, length: [start <= t < length for t in range(len(ids))],),
        ),
    ),
)


# loss_by_hand


def _nll(logits, labels):
    """-ln p of every next token, and whether it has a label: both (B, S - 1)."""
    losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], ignore_index=-100, reduction="none")
    return losses, labels[:, 1:] != -100


def _mean_loss(logits, labels):
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


def _log_of_mean(logits, labels):
    losses, has_label = _nll(logits, labels)
    return -(-losses[has_label]).exp().mean().log()


def _overflowing(logits, labels):
    chosen = labels[:, 1:].clamp(min=0)[..., None]
    p = (logits.exp() / logits.exp().sum(-1, keepdim=True))[:, :-1].gather(-1, chosen)[..., 0]
    return -p.log()[labels[:, 1:] != -100].mean()


def _wrong_axis(axis):
    def loss(logits, labels):
        chosen = labels[:, 1:].clamp(min=0)[..., None]
        log_p = logits[:, :-1].log_softmax(axis).gather(-1, chosen)[..., 0]
        return -log_p[labels[:, 1:] != -100].mean()

    return loss


def _batch(scale, *rows, seed=0, dtype=torch.float32):
    """Logits (B, S, 7), and labels padded with -100 to the longest row."""
    width = max(map(len, rows))
    labels = torch.tensor([[*row, *[-100] * (width - len(row))] for row in rows], device="cpu")
    return scale * drawn(len(rows), width, 7, seed=seed, dtype=dtype), labels


def _batch_label(logits, labels):
    dtype = str(logits.dtype).removeprefix("torch.")
    large = ", with large values" if logits.abs().max() > 100 else ""
    return f"for logits of shape {tuple(logits.shape)} in {dtype}{large}"


LOSS_BY_HAND = Exercise(
    name="loss_by_hand",
    task="The training loss of a batch, without cross_entropy.",
    stub='''\
def loss_by_hand(logits, labels):
    """Mean of -ln p(next token) over the labels of the whole batch, in nats.

    logits: (B, S, V); those at place t are about the token at place t + 1.
    labels: (B, S) token ids, -100 where there is no label; label t belongs to place t.
    """
    raise NotImplementedError
''',
    hint="Set logits[:, :-1] against labels[:, 1:]. log_softmax gives ln p; gather picks one; then mask, then average.",
    solution="""\
def loss_by_hand(logits, labels):
    log_p = logits[:, :-1].log_softmax(-1)
    labels = labels[:, 1:]
    has_label = labels != -100
    chosen = log_p.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -chosen[has_label].mean()
""",
    praise="one shift, one mask, one mean over all label tokens: this is the loss that training lowers.",
    reference=lambda logits, labels: _mean_loss(logits[:, :-1], labels[:, 1:]),
    probes=(
        cases(
            _batch_label,
            _batch(1, [-100, -100, 3, 5, 0]),
            _batch(2, [-100, 3, 5, 1, 2, 0], [-100, -100, -100, 6], [-100, 4, 0], seed=1, dtype=torch.float64),
        ),
        cases(_batch_label, _batch(300, [-100, 3, 5, 1], [-100, -100, 2, 0], seed=2)),
    ),
    mistakes=(
        Mistake(
            "you averaged over all tokens. Sum over the labels and divide by their number; -100 counts nowhere.",
            (
                lambda logits, labels: _nll(logits, labels)[0].mean(),
                lambda logits, labels: _nll(logits, labels.clamp(min=0))[0].mean(),
                lambda logits, labels: _nll(logits, labels)[0].sum() / labels.numel(),
            ),
        ),
        Mistake(
            "you took a mean of means: one mean a row. A short answer's tokens then weigh more than a long one's.",
            (
                lambda logits, labels: torch.stack(
                    [_mean_loss(z[None, :-1], y[None, 1:]) for z, y in zip(logits, labels)]
                ).mean(),
            ),
        ),
        Mistake(
            "you took log2, which gives bits. The loss is in nats, with the natural logarithm.",
            (lambda logits, labels: _mean_loss(logits[:, :-1], labels[:, 1:]) / math.log(2),),
        ),
        Mistake(
            "you took log10. The loss is in nats, with the natural logarithm.",
            (lambda logits, labels: _mean_loss(logits[:, :-1], labels[:, 1:]) / math.log(10),),
        ),
        Mistake("you did not shift. The logits at place t are about token t + 1.", (_mean_loss,)),
        Mistake(
            "you shifted the wrong way. The logits at place t are about the token after it, not before it.",
            (lambda logits, labels: _mean_loss(logits[:, 1:], labels[:, :-1]),),
        ),
        Mistake(
            "you shifted twice. The logits at place t are about token t + 1, not t + 2.",
            (lambda logits, labels: _mean_loss(logits[:, :-2], labels[:, 2:]),),
        ),
        Mistake(
            "you gave the sum. The loss is the sum divided by the number of labels.",
            (lambda logits, labels: _nll(logits, labels)[0].sum(),),
        ),
        Mistake(
            "you lost the minus sign. ln p is negative, and the loss is -ln p.",
            (lambda logits, labels: -_mean_loss(logits[:, :-1], labels[:, 1:]),),
        ),
        Mistake(
            "your softmax runs over the wrong axis. The probabilities of the vocabulary, the last axis, add up to 1.",
            (_wrong_axis(1), _wrong_axis(0)),
        ),
        Mistake("you took the logarithm of the mean probability. Take the mean of the logarithms.", (_log_of_mean,)),
        Mistake(
            "exp overflows where logits are large, and the loss is not a number. log_softmax subtracts the largest "
            "logit first.",
            (_overflowing,),
        ),
    ),
)


EXERCISES = (ADAM_BYTES, LARGEST_BATCH, ANSWER_LABELS, LOSS_BY_HAND)
