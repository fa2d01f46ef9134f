"""Right answers to the exercises of notebook 09, as people write them."""

import numpy as np
import torch

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


MARK = "\n\nAnswer:\n"

# encode_row


@right("encode_row")
def cut_only_if_too_long(question, answer, tokenize, eos, max_length):
    q, m, a = tokenize(question), tokenize(MARK), tokenize(answer)
    too_many = len(q) + len(m) + len(a) + 1 - max_length
    if too_many > 0:
        q = q[: len(q) - too_many]
    ids = q + m + a + [eos]
    return ids, len(q) + len(m)


@right("encode_row")
def dropped_one_by_one(question, answer, tokenize, eos, max_length):
    asked, behind = list(tokenize(question)), [*tokenize(MARK)]
    said = list(tokenize(answer))
    said.append(eos)
    while len(asked) + len(behind) + len(said) > max_length:
        asked.pop()
    asked.extend(behind)
    start = len(asked)
    asked.extend(said)
    return asked, start


@right("encode_row")
def as_a_tensor(question, answer, tokenize, eos, max_length):
    answer_ids = [*tokenize(MARK), *tokenize(answer), eos]
    room = max_length - len(answer_ids)
    ids = torch.tensor(tokenize(question)[:room] + answer_ids)
    return ids, len(ids) - len(tokenize(answer)) - 1


@right("encode_row")
def as_a_tuple_and_an_array(question, answer, tokenize, eos, max_length):
    parts = [np.array(tokenize(text), dtype=int) for text in (question, MARK, answer)]
    parts[0] = parts[0][: max_length - len(parts[1]) - len(parts[2]) - 1]
    return [np.concatenate([*parts, [eos]]), np.int64(len(parts[0]) + len(parts[1]))]


# answer_labels


@right("answer_labels")
def token_by_token(ids, start, length):
    labels = []
    for t, token in enumerate(ids):
        labels.append(token if start <= t < length else -100)
    return labels


@right("answer_labels")
def masked_copy(ids, start, length):
    labels = torch.tensor(ids)
    labels[:start] = -100
    labels[length:] = -100
    return labels


add("answer_labels", "joined", lambda ids, a, b: torch.tensor([-100] * a + ids[a:b] + [-100] * (len(ids) - b)))
add("answer_labels", "NumPy", lambda ids, a, b: np.where([a <= t < b for t in range(len(ids))], ids, -100))


@right("answer_labels")
def filled_list(ids, start, length):
    labels = [-100] * len(ids)
    labels[start:length] = ids[start:length]
    return tuple(labels)


@right("answer_labels")
def by_where(ids, start, length):
    t = torch.arange(len(ids))
    return torch.where((t >= start) & (t < length), torch.tensor(ids), -100).int()
