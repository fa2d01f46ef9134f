"""Examples in batches: labels on answers alone, right padding, length buckets, a token budget."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lorabook.data.examples import Example
from lorabook.errors import DataError

POOL_BATCHES = 32  # rows are sorted by length within pools of about so many batches
LENGTH_NOISE = 0.02  # of a row's length, so that other rows meet in every epoch; more of it pads more


@dataclass(frozen=True)
class Batch:
    """What `AnswerLoss` takes: ids (B, S), and for every label its place in the flattened batch and its id (N,)."""

    input_ids: Tensor
    label_positions: Tensor
    labels: Tensor

    def to(self, device: torch.device | str) -> "Batch":
        return Batch(self.input_ids.to(device), self.label_positions.to(device), self.labels.to(device))

    def without_labels(self) -> "Batch":
        """For a process with nothing to do while the others have: a forward pass that counts no label."""
        return Batch(self.input_ids, self.label_positions[:0], self.labels[:0])


def collate(examples: Sequence[Example], pad_id: int = 0) -> Batch:
    """Right-padded batch. The label of position t is the token at t + 1, for answer tokens only; padding has none."""
    length = max(len(e.input_ids) for e in examples)
    ids = torch.full((len(examples), length), pad_id, dtype=torch.long)
    positions: list[int] = []
    labels: list[int] = []
    for row, e in enumerate(examples):
        ids[row, : len(e.input_ids)] = torch.tensor(e.input_ids)
        positions += range(row * length + e.answer_start - 1, row * length + len(e.input_ids) - 1)
        labels += e.input_ids[e.answer_start :]
    return Batch(ids, torch.tensor(positions, dtype=torch.long), torch.tensor(labels, dtype=torch.long))


def check_rows(model: nn.Module, examples: Sequence[Example]) -> None:
    """Refuse rows that do not fit the model, before a GPU meets them and can do nothing more until it is restarted.

    Raises:
        DataError: a row longer than the model's positions, or with a token outside of its vocabulary.
    """
    host: Any = model
    positions = getattr(getattr(host, "config", None), "max_position_embeddings", None) or math.inf
    embedding = getattr(host, "get_input_embeddings", lambda: None)()
    vocabulary = math.inf if embedding is None else len(getattr(embedding, "base_layer", embedding).weight)
    for e in examples:
        row, length = f"The row of question {e.question_id}", len(e.input_ids)
        if length > positions:
            raise DataError(
                f"{row} has {length} tokens; the model has {positions} positions.",
                f"Encode the rows with a maximum length of {positions}.",
            )
        if not 0 <= min(e.input_ids) <= max(e.input_ids) < vocabulary:
            wrong = next(t for t in e.input_ids if not 0 <= t < vocabulary)
            raise DataError(
                f"{row} holds token {wrong}; the model's vocabulary has {vocabulary}.",
                "Encode the rows with the model's own tokenizer.",
            )


def length_batches(lengths: Sequence[int], tokens: int, rng: np.random.Generator | None = None) -> list[list[int]]:
    """Groups of row numbers, each with rows * longest <= `tokens` (a longer row stands alone).

    Rows are shuffled, then sorted by length, with 2% of noise, within pools, so that neighbours pad little;
    the groups come back shuffled. Without `rng`: sorted, in order, the same every time (for evaluation).
    """
    order = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    mean = max(1.0, float(np.mean(lengths))) if len(lengths) else 1.0
    pool = len(lengths) if rng is None else max(1, int(POOL_BATCHES * tokens / mean))
    groups: list[list[int]] = []
    group: list[int] = []
    for start in range(0, len(order), max(1, pool)):
        # what did not fill a group goes on into the next pool, so that only the last group of all may be small
        rows = np.concatenate([np.asarray(group, dtype=int), order[start : start + pool]])
        keys = np.asarray([lengths[i] for i in rows], dtype=float)
        if rng is not None:
            keys *= rng.uniform(1 - LENGTH_NOISE, 1 + LENGTH_NOISE, len(keys))
        group, longest = [], 0
        for i in rows[np.argsort(keys, kind="stable")]:
            longest = max(longest, lengths[i])
            if group and longest * (len(group) + 1) > tokens:
                groups.append(group)
                group, longest = [], lengths[i]
            group.append(int(i))
    if group:
        groups.append(group)
    if rng is not None:
        groups = [groups[i] for i in rng.permutation(len(groups))]
    return groups


def epoch_plan(
    lengths: Sequence[int], micro_tokens: int, batch_tokens: int, seed: int, epoch: int
) -> list[list[list[int]]]:
    """The optimizer steps of one epoch: for each step its micro-batches, for each micro-batch its examples.

    Every example is in exactly one step. A step holds examples * longest <= `batch_tokens`, whatever `micro_tokens`,
    which only cuts the step into pieces. Which examples form a step depends on the seed, the epoch and the lengths
    alone, not on the machine.
    """
    return [
        [[rows[i] for i in piece] for piece in length_batches([lengths[i] for i in rows], micro_tokens)]
        for rows in _epoch_steps(lengths, batch_tokens, seed, epoch)
    ]


def _epoch_steps(lengths: Sequence[int], batch_tokens: int, seed: int, epoch: int) -> list[list[int]]:
    return length_batches(lengths, batch_tokens, np.random.default_rng([seed, epoch]))


class StepPlan:
    """The optimizer steps of a whole run, one epoch after the other, numbered from 0.

    Every epoch is shuffled and grouped anew, so epochs differ by a step or so in their number of steps. One integer,
    the number of steps taken, says where a run is: that is all a checkpoint needs.
    """

    def __init__(self, lengths: Sequence[int], micro_tokens: int, batch_tokens: int, seed: int):
        self.lengths, self.micro_tokens, self.batch_tokens, self.seed = lengths, micro_tokens, batch_tokens, seed
        self._ends: list[int] = []  # the number of steps up to the end of each epoch counted so far
        self._planned: tuple[int, list[list[list[int]]]] = (-1, [])  # the epoch at hand: its number and its steps

    def steps_in(self, epochs: int) -> int:
        """How many steps the first `epochs` epochs take."""
        while len(self._ends) < epochs:
            count = len(_epoch_steps(self.lengths, self.batch_tokens, self.seed, len(self._ends)))
            self._ends.append((self._ends[-1] if self._ends else 0) + count)
        return self._ends[epochs - 1] if epochs else 0

    def locate(self, step: int) -> tuple[int, int]:
        """The epoch that step number `step` belongs to, and its place in that epoch; both from 0."""
        while self.steps_in(len(self._ends)) <= step:
            self.steps_in(len(self._ends) + 1)
        epoch = bisect_right(self._ends, step)
        return epoch, step - self.steps_in(epoch)

    def epoch(self, number: int) -> list[list[list[int]]]:
        """The steps of one epoch, as `epoch_plan` gives them."""
        if self._planned[0] != number:
            plan = epoch_plan(self.lengths, self.micro_tokens, self.batch_tokens, self.seed, number)
            self._planned = number, plan
        return self._planned[1]

    def __getitem__(self, step: int) -> list[list[int]]:
        """The micro-batches of step number `step`."""
        epoch, place = self.locate(step)
        return self.epoch(epoch)[place]


def split_micro_batch(rows: list[int], parts: int) -> list[list[int]]:
    """`rows` in up to `parts` pieces of nearly equal size, for a step that did not fit into memory whole."""
    return [list(map(int, piece)) for piece in np.array_split(rows, min(parts, len(rows)))]


def share_of_rank(micro: list[list[int]], rank: int, world: int) -> list[list[int]]:
    """The micro-batches of one process out of `world`: equal counts for all, so that no process waits for another.

    Where a step's count does not divide, empty micro-batches fill up; they count no labels.
    """
    filled = micro + [[]] * (-len(micro) % world)
    return filled[rank::world]
