"""A mean, give or take."""

from lorabook.workbook.kit.spread import spread


def test_spread_is_the_mean_and_the_farthest_value():
    assert spread([1.0, 1.1, 1.5]) == "1.20 ± 0.30"
    assert spread([1.0, 1.001], 4) == "1.0005 ± 0.0005"
