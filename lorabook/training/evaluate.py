"""The loss of a model on questions it was not trained on, of which a part is what the question itself brings."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from lorabook.data.batches import check_rows, collate, length_batches
from lorabook.data.examples import Example
from lorabook.errors import DataError
from lorabook.models.precision import precision_for
from lorabook.step.loss import AnswerLoss
from lorabook.training.progress import measuring


@dataclass(frozen=True)
class HeldOut:
    """Mean cross-entropy in nats per answer token over the `tokens` answer tokens of `examples` examples."""

    loss: float
    tokens: int
    examples: int


@contextlib.contextmanager
def evaluating(model: nn.Module):
    """Evaluation mode, no gradients, and the device's autocast: what training computes, without dropout."""
    was_training = model.training
    device = next(model.parameters()).device
    autocast = precision_for(device).autocast
    model.eval()
    try:
        with torch.no_grad(), torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            yield device
    finally:
        model.train(was_training)


def answer_loss(
    model: nn.Module,
    examples: Sequence[Example],
    micro_tokens: int = 4096,
    accelerator: Any = None,
    loss: nn.Module | None = None,
) -> HeldOut:
    """Loss of the answers given their questions: the sum over all answer tokens divided by their number.

    With an `accelerator` of several processes, all of which must call this, each passes its share of every batch
    through the model, and the sums of losses and of answer tokens are added up over the processes. A sharded model
    computes only within the module that was sharded: `loss`, its AnswerLoss, checked before.

    Raises:
        DataError: there are no examples, or one does not fit the model (`check_rows`).
        SettingError: the loss would be wrong for this model (`AnswerLoss.check`).
    """
    if not examples:
        raise DataError("There are no answers to measure.", "Give more examples, or a larger maximum length.")
    check_rows(model, examples)
    rank, world = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
    total, tokens = 0.0, 0
    with evaluating(model) as device:
        if loss is None:
            loss = AnswerLoss(model)
            loss.check()
        for rows in measuring(length_batches([len(e.input_ids) for e in examples], micro_tokens * world)):
            mine = [examples[i] for i in rows[rank::world]]
            batch = (collate(mine) if mine else collate(examples[:1]).without_labels()).to(device)
            total += loss(batch.input_ids, batch.label_positions, batch.labels).item()
            tokens += len(batch.labels)
        if world > 1:
            sums = accelerator.reduce(torch.tensor([total, tokens], dtype=torch.float64, device=device), "sum")
            total, tokens = sums[0].item(), int(sums[1])
    return HeldOut(total / tokens, tokens, len(examples))


def token_losses(model: nn.Module, example: Example) -> list[float]:
    """The loss −ln p of each token of the example's answer, in nats; `answer_loss` is their mean.

    Raises:
        DataError: the example does not fit the model (`check_rows`).
    """
    check_rows(model, [example])
    with evaluating(model) as device:
        ids = torch.tensor(example.input_ids, device=device)
        logits = model(input_ids=ids[None]).logits[0].float()
        # the output at position t predicts the token at t + 1
        return F.cross_entropy(logits[:-1], ids[1:], reduction="none")[example.answer_start - 1 :].tolist()


@dataclass(frozen=True)
class QuestionGain:
    """How much the right question helps: loss of the answers given another question minus given their own, in nats."""

    own: float
    other: float
    examples: int

    @property
    def gain(self) -> float:
        return self.other - self.own


def question_gain(model: nn.Module, examples: Sequence[Example], max_length: int) -> QuestionGain:
    """`QuestionGain` over the same answers, each given the question of another example.

    Examples are ordered by the length of their question and each takes its neighbour's, so that lengths hardly change.
    An answer that would not fit behind the other question whole is left out of both sides.

    Raises:
        DataError: no answer is left.
    """
    order = sorted(examples, key=lambda e: (e.answer_start, e.question_id))
    own, other = [], []
    for e, neighbour in zip(order, order[1:] + order[:1]):
        ids = neighbour.input_ids[: neighbour.answer_start] + e.input_ids[e.answer_start :]
        if len(ids) <= max_length and neighbour.question_id != e.question_id:
            own.append(e)
            other.append(Example(ids, neighbour.answer_start, e.question_id))
    return QuestionGain(answer_loss(model, own).loss, answer_loss(model, other).loss, len(own))
