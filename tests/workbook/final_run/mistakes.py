"""Wrong answers to the exercises of notebook 09, as people write them."""

import numpy as np
import torch

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

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
