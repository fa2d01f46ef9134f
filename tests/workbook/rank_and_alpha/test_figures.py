"""The figures and its stored runs: the numbers given are the numbers drawn, and asked for by name."""

import numpy as np
import pytest
import torch

from lorabook.workbook.rank_and_alpha import figures as figures_03
from lorabook.workbook.rank_and_alpha.figures import Series
from lorabook.workbook.rank_and_alpha.sweep import Run, Sweep, by_rate, tuned


def run(lr: float, loss: float, seed: int = 0, **fields) -> Run:
    values = {"rows": "real", "method": "lora", "targets": ("all-linear",), "r": 4, "scaling": 2.0, "trainable": 10}
    values |= {"base": 3.0, "source": 2.8, "steps": 30, "tokens": 60, "step_peak_bytes": 1, "cpu_seconds": 1.0}
    return Run(**values | {"lr": lr, "loss": loss, "seed": seed} | fields)


RUNS = (
    run(1e-3, 2.5),
    run(2e-3, 2.2),
    run(4e-3, 2.4),
    run(2e-3, 2.3, seed=1, source=2.9),
    run(1e-3, 2.9, rows="live"),
    run(1e-3, 2.0, method="full", targets=("everything",), r=None, scaling=None),
)
SWEEP = Sweep(RUNS, 2.7)


def test_the_best_rate_is_that_of_the_first_seed_and_every_seed_there_counts():
    chosen = SWEEP.lora(4, 2.0)
    assert by_rate(chosen) == {1e-3: 2.5, 2e-3: 2.2, 4e-3: 2.4}
    best = tuned(chosen)
    assert (best.lr, best.losses, best.sources) == (2e-3, (2.2, 2.3), (2.8, 2.9)) and best.loss == 2.25
    assert SWEEP.share(2.5) == pytest.approx(0.5) and SWEEP.share(2.0) == 1


def test_a_scaling_is_found_although_it_is_no_round_number():
    odd = Sweep((run(1e-3, 2.0, r=3, scaling=4 / 3**0.5),), 2.7)
    assert len(odd.lora(3, 4 / 3**0.5)) == 1 and odd.lora(3, 4 / 2.9**0.5) == []


def test_rate_curves_fill_the_best_rate_of_each_curve():
    curves = {"r = 1": {1e-3: 3.0, 2e-3: 2.5, 4e-3: 2.7}, "r = 4": {1e-3: 2.4, 2e-3: 2.6}}
    left, right = figures_03.rate_curves({"one": curves, "two": curves}, ("full", 2.2), 2.8, "see").axes
    best = [(line.get_xdata()[0], line.get_ydata()[0]) for line in left.get_lines() if len(line.get_xdata()) == 1]
    assert best == [(2e-3, 2.5), (1e-3, 2.4)]
    assert [t.get_text() for t in left.get_legend().get_texts()] == list(curves)
    assert left.get_ylim()[1] == 2.8
    assert right.get_title() == "two" and right.get_legend() is None
    assert any(list(line.get_ydata()) == [2.2, 2.2] for line in right.get_lines())


def test_budget_dots_stand_in_the_order_given_with_their_mean():
    (axes,) = figures_03.budget_dots({"a": (1.0, 2.0), "b": (3.0, 5.0)}, ("full", 0.5), "see").axes
    means = [line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() == "|"]
    assert means == [1.5, 4.0] and [t.get_text() for t in axes.get_yticklabels()] == ["a", "b"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_gain_over_numbers_draws_means_seeds_and_names():
    series = {
        "LoRA": Series((10, 100), ((0.2, 0.4), (0.8, 0.9)), ("r = 1", "10")),
        "full, everything": Series((1000,), ((1.0,),)),
    }
    (axes,) = figures_03.gain_over_numbers(series, "see").axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert np.allclose(lines["LoRA"].get_ydata(), [0.3, 0.85]) and list(lines["LoRA"].get_xdata()) == [10, 100]
    assert {t.get_text() for t in axes.texts} == {"r = 1", "10"}
    assert sum(line.get_marker() == "." for line in axes.get_lines()) == 3


def test_forgetting_is_drawn_over_gain():
    points = {"full, everything": [(0.1, 0.02), (0.3, 0.2)], "LoRA": [(0.2, 0.05)]}
    (axes,) = figures_03.forgetting_over_gain(points, "see", joined=True).axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert list(lines["full, everything"].get_xdata()) == [0.1, 0.3] and list(
        lines["full, everything"].get_ydata()
    ) == [0.02, 0.2]
    assert lines["full, everything"].get_linestyle() == "-"


def test_step_times_stand_beside_what_arithmetic_predicts():
    times = {"pocket": {"floor": 0.7, "LoRA": 0.9, "full": 1.0}, "wide": {"floor": 0.65, "LoRA": 0.7, "full": 1.0}}
    (axes,) = figures_03.step_times(times, {"floor": 2 / 3, "LoRA": 2 / 3, "full": 1.0}, "see").axes
    assert [bar.get_height() for bar in axes.patches] == [0.7, 0.9, 1.0, 0.65, 0.7, 1.0]
    assert np.allclose([line.get_ydata()[0] for line in axes.get_lines()], [2 / 3, 2 / 3, 1.0] * 2)
    heights = [text.xy[1] for text in axes.texts]  # no line strikes through a number
    assert np.allclose(heights, [0.7, 0.9, 1.0, 2 / 3, 0.7, 1.0])


def test_similarity_maps_share_one_scale():
    maps = {"trained": torch.rand(3, 5), "random": torch.zeros(3, 5)}
    one, other, _ = figures_03.similarity_maps(maps, "see").axes
    assert np.allclose(one.images[0].get_array(), maps["trained"]) and one.images[0].get_clim() == (0, 1)
    assert other.get_title() == "random" and one.images[0].get_extent() == [0.5, 5.5, 0.5, 3.5]
