"""The number in a guess, and how far it is off."""

import numpy as np
import pytest
import torch

from lorabook.workbook.kit.guess import amount, off_by


@pytest.mark.parametrize(
    ("said", "number"),
    [
        (70_000, 70_000), (0.5, 0.5), (-2, -2), ("70,000", 70_000), ("about 70 thousand", 70_000), ("2.1 GiB", 2.1),
        ("4.7 million", 4.7e6), ("1e3", 1000), ("30%", 30), ("16,95", 16), ("about 24, one per step", 24),
        (np.float32(0.5), 0.5), (np.int64(7), 7), (torch.tensor(7.0), 7), ("", None), ("half", None), (None, None),
        ([7], None), (True, None), (float("nan"), None), (np.array([1, 2]), None),
    ],
)  # fmt: skip
def test_the_number_that_is_named(said, number):
    assert amount(said) == number


@pytest.mark.parametrize(
    ("guess", "value", "told"),
    [
        (700, 70, "10 times too large"),
        (7, 70, "10 times too small"),
        (100, 70, "43% too large"),
        (0, 70, "70 too small"),
        (-2, 0.5, "2.5 too small"),
    ],
)
def test_how_far_a_guess_is_off(guess, value, told):
    assert off_by(guess, value) == told
