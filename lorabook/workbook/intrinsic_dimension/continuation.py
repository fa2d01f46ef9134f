"""A balanced task for a language model with a fresh head: does this piece of source code continue that one?

An example is 2 * HALF tokens of one file. The first HALF are a place in the file. The last HALF are what follows there
(label 1), or what stands at another place of the same file (label 0). Both kinds have the same vocabulary, so only a
model that has features of order can tell them apart.
"""

import random

import torch
from torch import Tensor, nn

HALF = 12


def examples(files: list[Tensor], count: int, rng: random.Random) -> tuple[Tensor, Tensor]:
    """`count` examples, ids (count, 2 * HALF) and labels (count,), of `files` of at least 4 * HALF ids each.

    A file is drawn in proportion to its length.
    """
    ids, labels = [], []
    lengths = [len(file) for file in files]
    for file in rng.choices(files, lengths, k=count):
        first = rng.randrange(len(file) - 2 * HALF + 1)
        follows = rng.random() < 0.5
        second = first + HALF
        while not follows and abs(second - first) < 2 * HALF:
            second = rng.randrange(len(file) - HALF + 1)
        ids.append(torch.cat([file[first : first + HALF], file[second : second + HALF]]))
        labels.append(int(follows))
    return torch.stack(ids), torch.tensor(labels)


class Classifier(nn.Module):
    """A transformer's last hidden state at the last token, and a linear head drawn by `seed`: logits (batch, 2)."""

    def __init__(self, body: nn.Module, seed: int):
        super().__init__()
        self.body = body
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(body.config.hidden_size, 2)  # pyright: ignore

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.body(input_ids=ids, use_cache=False).last_hidden_state
        return self.head(hidden[:, -1])


@torch.no_grad()
def accuracy(model: nn.Module, ids: Tensor, labels: Tensor) -> float:
    """The fraction of examples classified correctly."""
    right = [(model(i).argmax(1) == y).sum().item() for i, y in zip(ids.split(250), labels.split(250))]
    return round(sum(right) / len(labels), 4)
