"""The figure: the values given are the values drawn."""

import numpy as np

from lorabook.workbook.rank_and_alpha.methods import Series, recovery


def test_recovery_draws_means_seeds_and_names():
    series = {
        "LoRA": Series((10, 100), ((0.2, 0.4), (0.8, 0.9)), ("r = 1", "10")),
        "every parameter": Series((1000,), ((1.0,),)),
    }
    (axes,) = recovery(series, "see").axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert np.allclose(lines["LoRA"].get_ydata(), [0.3, 0.85]) and list(lines["LoRA"].get_xdata()) == [10, 100]
    assert {t.get_text() for t in axes.texts} == {"r = 1", "10", "LoRA", "every parameter"}
    assert sum(line.get_marker() == "." for line in axes.get_lines()) == 3
