"""The page "More on Fastfood": its tables are the stored results."""

import pytest

from lorabook import data
from lorabook.data.examples import encode_all
from lorabook.models import load_model
from lorabook.step.config import TrainConfig
from lorabook.subspace import apply_subspace
from lorabook.training.loop import finetune
from lorabook.workbook.kit.stored import stored
from tests.kit.notebooks import MORE_FASTFOOD, table

FOUND = stored("fastfood", "fastfood_factors")


def mean(values):
    return sum(values) / len(values)


def test_the_accuracies_are_means_over_ten_seeds():
    off = "", "dense", "B", "1", "Π", "G", "2", "H", "GΠ"  # in the order of the table's columns
    expected = []
    for d, runs in FOUND["digits"]["runs"].items():
        assert all(len(runs[variant]["test"]) == 10 for variant in off)
        expected.append([f"{int(d):,}", *(f"{mean(runs[variant]['test']):.0%}" for variant in off)])
    assert table(MORE_FASTFOOD, "Which factors does training need?") == expected


def test_the_losses_of_did_and_said():
    said = FOUND["said"]
    losses = {"before training": [said["base"]["test"]]}
    losses |= {name.upper(): [run["test"] for run in said[name]["runs"]] for name in ("did", "said")}
    assert table(MORE_FASTFOOD, "SAID, a scale for every tensor") == [
        [name, *(f"{value:.3f}" for value in (mean(values), min(values), max(values)))]
        for name, values in losses.items()
    ]


def test_the_dense_p_that_costs_as_much():
    crossing = FOUND["cost"]["crossing"]
    text = MORE_FASTFOOD.read_text(encoding="utf-8")
    assert f"a dense P with {crossing['fastfood']:.0f} columns" in text
    assert f"as much as one with {crossing['butterfly']:.0f}." in text


@pytest.mark.seconds
def test_adam_with_a_gradient_that_is_far_too_small():
    """Both runs of the table, again."""
    found = []
    for name, divisor in (("right", 1), ("2²² times too small", 2**22)):
        loaded = load_model("pocket", device="cpu")
        pairs, held_out = (
            encode_all(part, loaded.tokenizer, 256) for part in data.split(data.load("sample").pairs, 40)
        )
        apply_subspace(loaded.model, d=1000)
        for weight in loaded.model.parameters():
            weight.register_hook(lambda gradient, divisor=divisor: gradient / divisor)
        config = TrainConfig(lr=0.1, steps=10, batch_tokens=1024, log_every=0)
        history = finetune(loaded.model, pairs, held_out, config)
        (_, before), (_, after) = history.held_out
        norm = history.steps[0].grad_norm
        found.append([name, f"{norm:.3f}" if norm > 0.01 else f"{norm:.9f}", f"{before:.2f} → {after:.2f}"])
    assert table(MORE_FASTFOOD, "Where Adam fails") == found
