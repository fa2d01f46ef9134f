"""Wrong answers to the exercises of notebook 02, as people write them."""

import math

import numpy as np
import torch
import torch.nn.functional as F

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


@wrong("largest_batch", "16 for the card")
def sixteen_gib(static, row, logits):
    card = 16 * 1024**3
    return max(0, (card - static) // (row + logits))


@wrong("largest_batch", "16 for the card")
def sixteen_gb(static, row, logits):
    return max(0, int((16e9 - static) // (row + logits)))


@wrong("largest_batch", "forgot the static part")
def static_part_forgotten(static, row, logits):
    return int(14.75 * 2**30 / (row + logits))


@wrong("largest_batch", "rounded up")
def rounded_up(static, row, logits):
    return max(0, math.ceil((14.75 * 2**30 - static) / (row + logits)))


@wrong("largest_batch", "a fraction of a row")
def not_rounded(static, row, logits):
    return max(0, (14.75 * 2**30 - static) / (row + logits))


@wrong("largest_batch", "negative number of rows")
def negative(static, row, logits):
    return math.floor((14.75 * 2**30 - static) / (row + logits))


# answer_labels


@wrong("answer_labels", "shifted twice")
def shifted_twice(ids, start, length):
    labels = [-100] * len(ids)
    for t in range(start, length):
        labels[t - 1] = ids[t]
    return labels


@wrong("answer_labels", "masked by id")
def eos_masked_by_id(ids, start, length):
    labels = torch.tensor(ids)
    labels[:start] = -100
    labels[labels == 0] = -100
    return labels


@wrong("answer_labels", "over the places of the question")
def answer_over_question(ids, start, length):
    answer = ids[start:length]
    return answer + [-100] * (len(ids) - len(answer))


@wrong("answer_labels", "kept the padding")
def padding_kept(ids, start, length):
    return [-100] * start + ids[start:]


@wrong("answer_labels", "kept the question")
def question_kept(ids, start, length):
    labels = np.array(ids)
    labels[length:] = -100
    return labels


@wrong("answer_labels", "labelled every token")
def all_tokens(ids, start, length):
    return torch.tensor(ids).clone()


@wrong("answer_labels", "dropped the last real token")
def last_token_lost(ids, start, length):
    return [t if start <= i < length - 1 else -100 for i, t in enumerate(ids)]


@wrong("answer_labels", "dropped the first token")
def first_token_lost(ids, start, length):
    return [-100] * (start + 1) + ids[start + 1 : length] + [-100] * (len(ids) - length)


@wrong("answer_labels", "the other way round")
def question_for_answer(ids, start, length):
    return ids[:start] + [-100] * (len(ids) - start)


@wrong("answer_labels", "filled with 0")
def zeros_for_ignored(ids, start, length):
    return [0] * start + ids[start:length] + [0] * (len(ids) - length)


@wrong("answer_labels", "you gave the mask")
def mask_given(ids, start, length):
    return [0] * start + [1] * (length - start) + [0] * (len(ids) - length)


# loss_by_hand


def log_probabilities(logits, labels):
    """ln p of the next token, and where it has a label; labels of -100 are looked up as 0."""
    log_p = torch.log_softmax(logits[:, :-1, :], dim=-1)
    target = labels[:, 1:]
    return log_p.gather(2, target.clamp(min=0)[:, :, None])[:, :, 0], target >= 0


@wrong("loss_by_hand", "averaged over all tokens")
def all_positions(logits, labels):
    log_p, mask = log_probabilities(logits, labels)
    return -(log_p * mask).mean()


@wrong("loss_by_hand", "averaged over all tokens")
def mask_ignored(logits, labels):
    return -log_probabilities(logits, labels)[0].mean()


@wrong("loss_by_hand", "mean of means")
def mean_of_means(logits, labels):
    log_p, mask = log_probabilities(logits, labels)
    rows = [-p[m].sum() / m.sum() for p, m in zip(log_p, mask)]
    return sum(rows) / len(rows)


@wrong("loss_by_hand", "log2")
def bits(logits, labels):
    p = torch.softmax(logits, -1)
    found = [
        math.log2(p[b, t, labels[b, t + 1]])
        for b in range(labels.shape[0])
        for t in range(labels.shape[1] - 1)
        if labels[b, t + 1] != -100
    ]
    return -sum(found) / len(found)


@wrong("loss_by_hand", "log10")
def decimal_logarithm(logits, labels):
    log_p, mask = log_probabilities(logits, labels)
    return -torch.log10(log_p[mask].exp()).mean()


@wrong("loss_by_hand", "did not shift")
def not_shifted(logits, labels):
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))


@wrong("loss_by_hand", "the wrong way")
def previous_token(logits, labels):
    return F.cross_entropy(logits[:, 1:].transpose(1, 2), labels[:, :-1])


@wrong("loss_by_hand", "shifted twice")
def one_token_further(logits, labels):
    labels = labels[:, 1:]  # "the labels have to be shifted", and then the usual line below
    return F.cross_entropy(logits[:, :-2].transpose(1, 2), labels[:, 1:])


@wrong("loss_by_hand", "you gave the sum")
def summed(logits, labels):
    log_p, mask = log_probabilities(logits, labels)
    return -log_p[mask].sum()


@wrong("loss_by_hand", "minus sign")
def sign_lost(logits, labels):
    log_p, mask = log_probabilities(logits, labels)
    return log_p[mask].mean()


@wrong("loss_by_hand", "wrong axis")
def softmax_over_positions(logits, labels):
    return -log_probabilities_over(1, logits, labels)


def log_probabilities_over(axis, logits, labels):
    target = labels[:, 1:]
    picked = logits[:, :-1].softmax(axis).log().gather(2, target.clamp(min=0).unsqueeze(2)).squeeze(2)
    return picked[target != -100].mean()


@wrong("loss_by_hand", "mean probability")
def log_of_the_mean(logits, labels):
    log_p, mask = log_probabilities(logits, labels)
    return -math.log(log_p[mask].exp().mean())


@wrong("loss_by_hand", "exp overflows")
def softmax_written_out(logits, labels):
    e = torch.exp(logits)
    p = e / e.sum(dim=2, keepdim=True)
    losses = []
    for b, t in (labels[:, 1:] != -100).nonzero().tolist():
        losses.append(-torch.log(p[b, t, labels[b, t + 1]]))
    return torch.stack(losses).mean()
