"""Measuring a model on questions it was not trained on: its loss, the question's part in it, and its answers."""

import ast
import contextlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lorabook.batches import Example, check_rows, collate, encode_prompt, length_batches
from lorabook.errors import DataError
from lorabook.loss import AnswerLoss
from lorabook.precision import precision_for
from lorabook.stackoverflow import Pair, code_blocks

LEAST_STATEMENTS = 3


@dataclass(frozen=True)
class HeldOut:
    """Mean cross-entropy in nats per answer token over `tokens` answer tokens of `rows` answers."""

    loss: float
    tokens: int
    rows: int

    @property
    def perplexity(self) -> float:
        """exp(loss): of the mean, not the mean of exps."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


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


def answer_loss(model: nn.Module, examples: Sequence[Example], micro_tokens: int = 4096) -> HeldOut:
    """Loss of the answers given their questions: the sum over all answer tokens divided by their number.

    Raises:
        DataError: there are no examples, or one does not fit the model (`check_rows`).
    """
    if not examples:
        raise DataError("There are no answers to measure.", "Give more rows, or a larger maximum length.")
    check_rows(model, examples)
    total, tokens = 0.0, 0
    with evaluating(model) as device:
        loss = AnswerLoss(model)
        for rows in length_batches([len(e.input_ids) for e in examples], micro_tokens):
            batch = collate([examples[i] for i in rows]).to(device)
            total += loss(batch.input_ids, batch.label_positions, batch.labels).item()
            tokens += len(batch.labels)
    return HeldOut(total / tokens, tokens, len(examples))


@dataclass(frozen=True)
class QuestionGain:
    """How much the right question helps: loss of the answers given another question minus given their own, in nats."""

    own: float
    other: float
    rows: int

    @property
    def gain(self) -> float:
        return self.other - self.own


def question_gain(model: nn.Module, examples: Sequence[Example], max_length: int) -> QuestionGain:
    """`QuestionGain` over the same answers, each given the question of another row.

    Rows are ordered by the length of their question and each takes its neighbour's, so that lengths hardly change.
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


def answer(
    model: nn.Module,
    tokenizer,
    question: Pair,
    max_new_tokens: int = 160,
    temperature: float = 0.0,
    seed: int = 0,
    max_length: int | None = None,
) -> str:
    """The model's answer to a question as text: greedy at temperature 0, sampled above.

    One prompt at a time, so nothing is padded. Sampling draws from its own seed and leaves the random state alone.
    The model's own generation settings are set aside. The prompt is cut so that prompt and answer fit the model's
    positions (`max_length`).
    """
    from transformers import GenerationConfig

    positions = max_length or getattr(model.config, "max_position_embeddings", None) or 1024
    max_new_tokens = min(max_new_tokens, positions // 2)
    ids = encode_prompt(question, tokenizer, positions - max_new_tokens)
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {"do_sample": False}
    end = tokenizer.eos_token_id
    settings = GenerationConfig(max_new_tokens=max_new_tokens, pad_token_id=end, eos_token_id=end, **sampling)
    host: Any = model
    own = host.generation_config  # its penalties and limits would change what is asked for here
    with evaluating(model) as device, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        prompt_ids = torch.tensor([ids], device=device)
        try:
            host.generation_config = settings
            out = host.generate(prompt_ids, attention_mask=torch.ones_like(prompt_ids))
        finally:
            host.generation_config = own
    return tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True).strip("\n")


@dataclass(frozen=True)
class ParseShare:
    """How many of `answers` hold a code block of at least three statements that parses as Python."""

    parsed: int
    answers: int

    def __str__(self) -> str:
        return f"{self.parsed} of {self.answers}"


def parse_share(answers: Sequence[str]) -> ParseShare:
    """Count the answers with a fenced code block of at least three statements that parses. Nothing is executed."""
    return ParseShare(sum(any(_parses(block) for block in code_blocks(a)) for a in answers), len(answers))


def _parses(code: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python thinks of a stranger's escape sequences
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return sum(isinstance(node, ast.stmt) for node in ast.walk(tree)) >= LEAST_STATEMENTS
