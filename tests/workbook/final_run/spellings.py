"""Right answers to the exercises of notebook 09, as people write them."""

import numpy as np
import torch

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add

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
