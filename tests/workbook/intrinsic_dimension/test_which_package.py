"""The classification task of the pre-training experiment."""

import random

import torch

from lorabook.models import load_model
from lorabook.workbook.intrinsic_dimension.which_package import LENGTH, Classifier, accuracy, examples

PACKAGES = [[torch.arange(1000), torch.arange(2000, 2100)], [torch.arange(5000, 5400)]]


def test_an_example_is_a_piece_of_one_file_and_its_label_the_package():
    ids, labels = examples(PACKAGES, 400, random.Random(0))
    assert ids.shape == (400, LENGTH) and labels.sum() == 200
    assert (ids.diff(dim=1) == 1).all()
    assert ((ids[:, 0] >= 5000) == labels.bool()).all()
    long = (ids[labels == 0][:, 0] < 1000).float().mean()
    assert 0.8 < long < 0.98  # a file counts by its length: 1,000 tokens of 1,100
    again, _ = examples(PACKAGES, 400, random.Random(0))
    assert torch.equal(ids, again)


def test_the_classifier_is_a_head_of_its_seed_on_the_mean_hidden_state():
    body = load_model("pocket", device="cpu").model.transformer
    state = torch.get_rng_state()
    model, other = Classifier(body, 1), Classifier(body, 2)
    assert torch.equal(torch.get_rng_state(), state) and not torch.equal(model.head.weight, other.head.weight)
    ids = torch.randint(5, 4000, (3, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(ids)
        mean = body(input_ids=ids).last_hidden_state.sum(1) / 12
        torch.testing.assert_close(logits, mean @ model.head.weight.T + model.head.bias)
    assert accuracy(model, ids, logits.argmax(1)) == 1 and accuracy(model, ids, logits.argmin(1)) == 0
