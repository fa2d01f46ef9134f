"""Held-out loss against transformers' own, then what of it the question brings."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import CohereConfig

from lorabook.data.examples import Example
from lorabook.errors import DataError, SettingError
from lorabook.training.evaluate import HeldOut, answer_loss, evaluating, question_gain, token_losses
from tests.kit.families import LLAMA_SIZES, MODELS, build, gpt_bigcode
from tests.kit.runs import HELD_OUT, TRAIN, lora_model


@torch.no_grad()
def their_sum(model: nn.Module, e: Example) -> float:
    """Transformers' mean loss over one unpadded row's answer, times its number of labels."""
    labels = torch.tensor([[-100] * e.answer_start + list(e.input_ids[e.answer_start :])])
    return model(torch.tensor([e.input_ids]), labels=labels).loss.item() * e.label_tokens


@pytest.mark.parametrize("micro_tokens", [1, 60, 4096])
@pytest.mark.parametrize("name", MODELS)
def test_the_held_out_loss_is_a_mean_over_tokens(name, micro_tokens):
    model = MODELS[name]()
    sums = [their_sum(model, e) for e in TRAIN]
    tokens = sum(e.label_tokens for e in TRAIN)
    found = answer_loss(model, TRAIN, micro_tokens)
    assert found == HeldOut(pytest.approx(sum(sums) / tokens, rel=1e-5), tokens, len(TRAIN))
    mean_of_means = np.mean([s / e.label_tokens for s, e in zip(sums, TRAIN)])
    assert abs(mean_of_means - found.loss) > 1e-3  # so that the comparison above tells the two apart


@pytest.mark.parametrize("name", MODELS)
def test_each_token_s_loss_is_what_it_adds_to_the_answer_s(name):
    model, e = MODELS[name](), TRAIN[0]
    shorter = [Example(e.input_ids[:end], e.answer_start, 0) for end in range(e.answer_start + 1, len(e.input_ids) + 1)]
    sums = [their_sum(model, each) for each in shorter]
    assert token_losses(model, e) == pytest.approx(np.diff([0, *sums]), abs=1e-4)


def test_no_rows_have_no_loss():
    with pytest.raises(DataError, match="no answers to measure"):
        answer_loss(gpt_bigcode(), [])


def test_measuring_leaves_mode_weights_gradients_and_random_state_alone():
    model = lora_model(dropout=0.5).train()
    before = torch.get_rng_state()
    once = answer_loss(model, HELD_OUT)
    assert model.training and torch.equal(before, torch.get_rng_state())
    assert once == answer_loss(model.eval(), HELD_OUT) and not model.training
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(ZeroDivisionError), evaluating(model.train()):
        raise ZeroDivisionError
    assert model.training


class Parrot(nn.Module):
    """At every position, the logit of the row's first token is `sure` and every other one 0."""

    def __init__(self, vocabulary: int = 20, sure: float = 5.0):
        super().__init__()
        self.head = nn.Linear(vocabulary, vocabulary, bias=False)
        self.head.weight.data = sure * torch.eye(vocabulary)

    def forward(self, input_ids, use_cache):
        return SimpleNamespace(logits=self.head(self.base_model(input_ids, use_cache).last_hidden_state))

    def base_model(self, input_ids, use_cache):
        first = input_ids[:, :1].expand_as(input_ids)
        return SimpleNamespace(last_hidden_state=nn.functional.one_hot(first, self.head.in_features).float())

    def get_output_embeddings(self):
        return self.head


def parrot_rows() -> list[Example]:
    """The answer repeats the question's first token, which is another in every row."""
    return [Example((i, *range(i % 3 + 1), *[i] * 4), i % 3 + 2, 100 + i) for i in range(6, 16)]


def test_the_gain_is_exact_on_a_model_that_reads_the_question():
    found = question_gain(Parrot(), parrot_rows(), 64)
    rest = math.log(math.exp(5) + 19)
    assert (found.own, found.other) == (pytest.approx(rest - 5, abs=1e-5), pytest.approx(rest, abs=1e-5))
    assert found.gain == pytest.approx(5, abs=1e-5) and found.examples == 10


def test_the_gain_is_nothing_on_a_model_that_does_not():
    assert question_gain(Parrot(sure=0.0), parrot_rows(), 64).gain == 0.0


def test_the_other_question_is_of_another_row_and_the_answer_stays_whole(monkeypatch):
    rows, seen = parrot_rows(), []
    monkeypatch.setattr(
        "lorabook.training.evaluate.answer_loss", lambda _, e: seen.append(list(e)) or HeldOut(1.0, 1, len(e))
    )
    question_gain(Parrot(), rows, 64)
    own, other = seen
    assert sorted(e.question_id for e in own) == [e.question_id for e in rows]
    for mine, theirs in zip(own, other, strict=True):
        assert mine in rows and theirs.question_id == mine.question_id
        assert theirs.input_ids[theirs.answer_start :] == mine.input_ids[mine.answer_start :]
        asked = theirs.input_ids[: theirs.answer_start]
        (source,) = (e for e in rows if e.input_ids[: e.answer_start] == asked)
        assert source.question_id != mine.question_id
    assert len({e.input_ids[: e.answer_start] for e in other}) == len(rows)  # each question is used once


def test_answers_that_would_not_fit_are_left_out_of_both_sides():
    short, long = Example((1, 2, 9, 9), 2, 1), Example((3, *range(8), 9, 9), 9, 2)
    assert question_gain(Parrot(), [short, long], 11).examples == 2
    longer = Example((1, 2, *[9] * 6), 2, 1)  # 9 + 6 tokens behind the long question
    assert question_gain(Parrot(), [longer, long], 14).examples == 1


def test_a_row_is_never_paired_with_its_own_question():
    twice = [Example((1, 2, 9, 9), 2, 7), Example((1, 2, 8, 8), 2, 7)]
    with pytest.raises(DataError):
        question_gain(Parrot(), twice, 64)
    with pytest.raises(DataError):
        question_gain(Parrot(), twice[:1], 64)
    assert question_gain(Parrot(), [*twice, Example((3, 4, 9, 9), 2, 8)], 64).examples == 2


def test_the_loss_of_a_model_that_it_would_be_wrong_for_is_not_measured():
    model = build(CohereConfig(vocab_size=64, **LLAMA_SIZES, logit_scale=0.25))
    with pytest.raises(SettingError, match="changes its logits"):
        answer_loss(model, HELD_OUT)
