"""Wrong answers to the exercises of notebook 09, as people write them."""

import numpy as np
import torch

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

MARK = "\n\nAnswer:\n"

# encode_row


def tokens_of(question, answer, tokenize, eos):
    return tokenize(question), tokenize(MARK), [*tokenize(answer), eos]


@wrong("encode_row", "the end token is lost")
def eos_forgotten(question, answer, tokenize, eos, max_length):
    q, mark, a = tokenize(question), tokenize(MARK), tokenize(answer)
    q = q[: max_length - len(mark) - len(a)]
    return q + mark + a, len(q) + len(mark)


@wrong("encode_row", "tokenised the texts together")
def template_search(question, answer, tokenize, eos, max_length):
    ids = [*tokenize(question + MARK + answer), eos][:max_length]
    mark = tokenize(MARK)
    for start in range(len(ids)):
        if ids[start : start + len(mark)] == mark:
            return ids, start + len(mark)
    return ids, 0


@wrong("encode_row", "tokenised the texts together")
def length_of_the_prompt(question, answer, tokenize, eos, max_length):
    prompt = question + MARK
    return [*tokenize(prompt + answer), eos], len(tokenize(prompt))


@wrong("encode_row", "searched for MARK")
def mark_searched(question, answer, tokenize, eos, max_length):
    q, mark, a = tokens_of(question, answer, tokenize, eos)
    ids = q[: max_length - len(mark) - len(a)] + mark + a
    at = next(i for i in range(len(ids)) if ids[i : i + len(mark)] == mark)
    return ids, at + len(mark)


@wrong("encode_row", "that of MARK")
def start_before_the_mark(question, answer, tokenize, eos, max_length):
    q, mark, a = tokens_of(question, answer, tokenize, eos)
    q = q[: max_length - len(mark) - len(a)]
    return q + mark + a, len(q)


@wrong("encode_row", "one off")
def start_shifted(question, answer, tokenize, eos, max_length):
    q, mark, a = tokens_of(question, answer, tokenize, eos)
    q = q[: max_length - len(mark) - len(a)]
    return q + mark + a, len(q + mark) - 1


@wrong("encode_row", "MARK is missing")
def mark_forgotten(question, answer, tokenize, eos, max_length):
    q, a = tokenize(question), [*tokenize(answer), eos]
    q = q[: max_length - len(a)]
    return q + a, len(q)


@wrong("encode_row", "truncated the answer away")
def answer_truncated(question, answer, tokenize, eos, max_length):
    q, mark, a = tokens_of(question, answer, tokenize, eos)
    return (q + mark + a)[:max_length], len(q) + len(mark)


@wrong("encode_row", "cut the start of the question")
def cut_on_the_left(question, answer, tokenize, eos, max_length):
    q, mark, a = tokens_of(question, answer, tokenize, eos)
    ids = (q + mark + a)[-max_length:]
    return ids, len(ids) - len(a)


@wrong("encode_row", "cut MARK off")
def mark_cut_off(question, answer, tokenize, eos, max_length):
    q, mark, a = tokens_of(question, answer, tokenize, eos)
    prompt = (q + mark)[: max_length - len(a)]
    return prompt + a, len(prompt)


@wrong("encode_row", "did not cut")
def not_cut(question, answer, tokenize, eos, max_length):
    q, mark, a = tokens_of(question, answer, tokenize, eos)
    return q + mark + a, len(q) + len(mark)


@wrong("encode_row", "before the cut")
def start_before_the_cut(question, answer, tokenize, eos, max_length):
    q, mark, a = tokens_of(question, answer, tokenize, eos)
    start = len(q) + len(mark)
    return q[: max_length - len(mark) - len(a)] + mark + a, start


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
