"""A balanced classification task for a pre-trained language model with a fresh head: which package is this code from?

An example is LENGTH tokens from anywhere in a source file, its label the package that the file belongs to. The files of
training, validation and test examples are different ones.
"""

import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn

LENGTH = 24


def examples(packages: Sequence[Sequence[Tensor]], count: int, rng: random.Random) -> tuple[Tensor, Tensor]:
    """`count` examples, ids (count, LENGTH) and labels (count,), as many of every package.

    Args:
        packages: the files of each package as ids, at least LENGTH of them a file. A file is drawn in proportion to its
            length.
    """
    ids, labels = [], []
    for number in range(count):
        label = number % len(packages)
        files = packages[label]
        (file,) = rng.choices(files, [len(f) for f in files])
        first = rng.randrange(len(file) - LENGTH + 1)
        ids.append(file[first : first + LENGTH])
        labels.append(label)
    return torch.stack(ids), torch.tensor(labels)


class Classifier(nn.Module):
    """The mean of a transformer's last hidden states, and a linear head drawn by `seed`: logits (batch, 2)."""

    def __init__(self, body: nn.Module, seed: int):
        super().__init__()
        self.body = body
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(body.config.hidden_size, 2)  # pyright: ignore

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.body(input_ids=ids, use_cache=False).last_hidden_state.mean(1))


@torch.no_grad()
def accuracy(model: nn.Module, ids: Tensor, labels: Tensor) -> float:
    """The fraction of examples classified correctly."""
    right = [(model(i).argmax(1) == y).sum().item() for i, y in zip(ids.split(250), labels.split(250))]
    return round(sum(right) / len(labels), 4)
