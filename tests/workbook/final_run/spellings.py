"""Right answers to the exercises of notebook 09, as people write them."""

import math

import numpy as np
import torch

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add

# guess_loss


@right("guess_loss")
def token_by_token_of_each_answer(options, lengths):
    losses = []
    for length in lengths:
        losses += [-math.log(1 / options)] + [0.0] * (length - 1)
    return sum(losses) / len(losses)


add("guess_loss", "NumPy", lambda options, lengths: np.log(options) / np.mean(lengths))
add("guess_loss", "PyTorch", lambda n, lengths: torch.log(torch.tensor(n)) * len(lengths) / torch.tensor(lengths).sum())


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
