"""Exercises: which tokens carry the loss, and what the loss is."""

import math

import torch
import torch.nn.functional as F

from lorabook.workbook.kit.engine import Exercise, Mistake, cases, drawn


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
            "you labelled every token. Neither question nor padding has a label.",
            (lambda ids, start, length: ids,),
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
        Mistake(
            "you did not shift. The logits at place t are about token t + 1.",
            (_mean_loss,),
        ),
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
        Mistake(
            "you took the logarithm of the mean probability. Take the mean of the logarithms.",
            (_log_of_mean,),
        ),
        Mistake(
            "exp overflows where logits are large, and the loss is not a number. log_softmax subtracts the largest "
            "logit first.",
            (_overflowing,),
        ),
    ),
)

EXERCISES = (ANSWER_LABELS, LOSS_BY_HAND)
