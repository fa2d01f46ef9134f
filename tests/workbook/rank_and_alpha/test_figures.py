"""The figures and its stored runs: the numbers given are the numbers drawn, and asked for by name."""

import numpy as np
import pytest

from lorabook.workbook.kit.stored import stored
from lorabook.workbook.kit.tuned import Tuned, tuned_runs
from lorabook.workbook.rank_and_alpha import figures as figures_03
from lorabook.workbook.rank_and_alpha.figures import Series
from lorabook.workbook.rank_and_alpha.sweep import Run, Sweep, all_methods, by_rate, tuned


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
    runs = tuned_runs()
    panels = [("one", runs, "α/r"), ("other", tuned_runs("smollm2"), "α/√r")]
    left, right = figures_03.rate_curves(panels, "t").axes
    best = [(line.get_xdata()[0], line.get_ydata()[0]) for line in left.get_lines() if len(line.get_xdata()) == 1]
    full = runs["full fine-tuning"]
    assert best[0] == (full.lr, min(full.rates.values())) and len(best) == 5
    assert best[3] == (0.008, min(runs["r = 16, α/r"].rates.values()))
    assert list(left.get_lines()[0].get_xdata()) == sorted(full.rates)
    assert [t.get_text() for t in right.get_legend().get_texts()] == ["full", "r = 1", "r = 64"]  # that ran
    assert [axes.get_title() for axes in (left, right)] == ["one", "other"]


def test_tuned_runs_are_those_of_the_stored_result():
    rules = stored("rank_and_alpha", "rules")["models"]["pocket"]
    runs = tuned_runs()
    assert runs["r = 4, α/√r"].losses == [run["test"] for run in rules["ranks"]["alpha / sqrt(r)"]["4"]["runs"]]
    with_wte = runs["all linear, wte at 1/16"]
    assert with_wte.losses == [run["test"] for run in rules["targets"]["all linear + embeddings"]["0.0625"]]
    assert (with_wte.r, with_wte.parameters, runs["full fine-tuning"].r) == (4, 75_776, None)
    assert tuned_runs("smollm2")["r = 16, α/r"].losses == [
        run["test"]
        for run in stored("rank_and_alpha", "rules")["models"]["smollm2"]["ranks"]["alpha / r"]["16"]["runs"]
    ]
    for name, run in runs.items():
        assert len(run.losses) == 3 and ("wte" in name or run.rates[run.lr] == min(run.rates.values())), name


def test_budget_dots_stand_in_the_order_given_with_their_mean():
    losses = {"a": [1.0, 2.0], "b": [3.0, 5.0], "c": [2.0, 4.0], "full fine-tuning": [0.5]}
    runs = {name: Tuned(4, 1000, 1e-3, {}, values) for name, values in losses.items()}
    (axes,) = figures_03.budget_dots(runs, ("a", "b"), ("c",)).axes
    means = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.get_lines() if line.get_marker() == "|"]
    assert means == [(1.5, 0), (4.0, 1), (3.0, 2.5)]
    assert [t.get_text() for t in axes.get_yticklabels()] == [f"{name}\n1,000 parameters" for name in "abc"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_recovery_draws_means_seeds_and_names():
    series = {
        "LoRA": Series((10, 100), ((0.2, 0.4), (0.8, 0.9)), ("r = 1", "10")),
        "full, everything": Series((1000,), ((1.0,),)),
    }
    (axes,) = figures_03.recovery(series, "see").axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert np.allclose(lines["LoRA"].get_ydata(), [0.3, 0.85]) and list(lines["LoRA"].get_xdata()) == [10, 100]
    assert {t.get_text() for t in axes.texts} == {"r = 1", "10"}
    assert sum(line.get_marker() == "." for line in axes.get_lines()) == 3


def test_all_methods_are_those_of_the_figure_and_full_fine_tuning_recovers_all():
    found = all_methods()
    assert found.keys() == figures_03.METHODS.keys()
    assert found["full, everything"].means == [pytest.approx(1)]
    assert found["LoRA"].parameters == (14_592, 58_368, 233_472, 933_888)


def test_forgetting_is_drawn_over_gain_up_to_the_best_rate():
    def one(lr, seed, gain, source):
        return {"lr": lr, "seed": seed, "gain": gain, "source": source}

    runs = [one(2e-3, 0, 0.3, 0.2), one(2e-3, 1, 0.5, 0.4), one(1e-3, 0, 0.1, 0.05), one(4e-3, 0, 0.2, 0.9)]
    (axes,) = figures_03.forgetting({"full": {"best": 2e-3, "runs": runs}}, "see").axes
    line = next(line for line in axes.get_lines() if line.get_label() == "full")
    assert np.allclose(line.get_xdata(), [0.1, 0.4]) and np.allclose(line.get_ydata(), [0.05, 0.3])
    assert [text.get_text() for text in axes.texts] == ["full"]
