"""Sizes that read well."""

import pytest

from lorabook.sizes import size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (512, "0.50 KiB"),
        (64 * 2**20, "64.0 MiB"),
        (2**30 - 1, "1.00 GiB"),
        (59 * 2**28, "14.8 GiB"),
        (2**45, "32.0 TiB"),
    ],
)
def test_sizes_have_three_digits(size, text):
    assert size_text(size) == text
