"""The classification task of the pre-training experiment, and its stored result."""

import random

import pytest
import torch

from lorabook.models import load_model
from lorabook.workbook.intrinsic_dimension.continuation import HALF, Classifier, accuracy, examples

FILES = [torch.arange(1000), torch.arange(5000, 5400)]


def test_an_example_is_two_halves_of_one_file_and_the_label_says_whether_they_join():
    ids, labels = examples(FILES, 400, random.Random(0))
    assert ids.shape == (400, 2 * HALF)
    for row, label in zip(ids.tolist(), labels.tolist()):
        assert row[HALF - 1] - row[0] == row[-1] - row[HALF] == HALF - 1  # each half is whole
        assert (row[0] >= 5000) == (row[-1] >= 5000)  # one file
        assert (row[HALF] == row[HALF - 1] + 1) == bool(label)
        if not label:
            assert abs(row[HALF] - row[0]) >= 2 * HALF  # and comes from elsewhere
    assert 0.4 < labels.float().mean() < 0.6
    again, _ = examples(FILES, 400, random.Random(0))
    assert torch.equal(ids, again)


def test_the_classifier_reads_the_last_token_with_a_head_of_its_seed():
    body = load_model("pocket", device="cpu").model.transformer
    state = torch.get_rng_state()
    model, other = Classifier(body, 1), Classifier(body, 2)
    assert torch.equal(torch.get_rng_state(), state) and not torch.equal(model.head.weight, other.head.weight)
    ids = torch.randint(5, 4000, (3, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(ids)
        last = body(input_ids=ids).last_hidden_state[:, -1]
        torch.testing.assert_close(logits, last @ model.head.weight.T + model.head.bias)
    assert accuracy(model, ids, logits.argmax(1)) == 1 and accuracy(model, ids, logits.argmin(1)) == 0


@pytest.mark.parametrize("count", [1, 7])
def test_as_many_examples_as_asked(count):
    ids, labels = examples(FILES[:1], count, random.Random(1))
    assert len(ids) == len(labels) == count
