"""The figure: the values given are the values drawn."""

import numpy as np
import pytest

from lorabook.workbook.kit.tuned import tuned_runs
from lorabook.workbook.rank_and_alpha.methods import METHODS, Series, all_methods, recovery
from scripts.assets import rank_rules


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


def test_all_methods_are_those_of_the_figure_beside_full_fine_tuning():
    found = all_methods()
    assert found.keys() == METHODS.keys()
    assert found["full fine-tuning"].means == [pytest.approx(1)]
    assert found["LoRA"].parameters == (14_592, 58_368, 233_472, 933_888)
    assert found["LoRA"].recoveries[2] == tuple(tuned_runs()["r = 16, α = 32"].recoveries)
    assert found["random subspace"].parameters == tuple(rank_rules.DIMENSIONS)
    assert len(found["bottleneck adapters"].parameters) == len(rank_rules.WIDTHS)
    assert all(len(seeds) == 3 for series in found.values() for seeds in series.recoveries)
    assert round(100 * found["every parameter"].means[0]) == 104  # 4 points more, as the notebook says


def test_with_as_many_parameters_lora_recovers_the_most():
    found = all_methods()
    lora = found["LoRA"]
    for method in ("random subspace", "bottleneck adapters", "embeddings alone"):
        for parameters, recovered in zip(found[method].parameters, found[method].means, strict=True):
            if lora.parameters[0] <= parameters <= lora.parameters[-1]:
                assert recovered < np.interp(np.log(parameters), np.log(lora.parameters), lora.means)
