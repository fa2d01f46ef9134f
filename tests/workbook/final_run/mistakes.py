"""Wrong answers to the exercises of notebook 09, as people write them."""

import math

import numpy as np
import torch

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# guess_loss


@wrong("guess_loss", "averaged each answer first")
def mean_of_means(options, lengths):
    return np.mean([math.log(options) / length for length in lengths])


@wrong("guess_loss", "has another base")
def in_bits(options, lengths):
    return math.log2(options) * len(lengths) / sum(lengths)


@wrong("guess_loss", "has another base")
def to_base_ten(options, lengths):
    return np.log10(options) / np.mean(lengths)


@wrong("guess_loss", "sign is off")
def ln_p_itself(options, lengths):
    return math.log(1 / options) * len(lengths) / sum(lengths)


@wrong("guess_loss", "counted one guess")
def one_guess_in_all(options, lengths):
    total = 0
    for length in lengths:
        total += length
    return -math.log(1 / options) / total


@wrong("guess_loss", "of the guess alone")
def per_answer(options, lengths):
    return sum(math.log(options) for _ in lengths) / len(lengths)


@wrong("guess_loss", "gave the sum")
def not_divided(options, lengths):
    return torch.tensor(float(options)).log() * len(lengths)


@wrong("guess_loss", "took the probability")
def probability(options, lengths):
    return len(lengths) / options / sum(lengths)


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


@wrong("answer_labels", "at the question's positions")
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
