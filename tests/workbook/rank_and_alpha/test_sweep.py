"""The stored runs are found by what they trained, and each method counts at its best learning rate."""

import pytest

from lorabook.workbook.rank_and_alpha.methods import METHODS
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


def test_all_methods_are_those_of_the_figure_and_full_fine_tuning_recovers_all():
    found = all_methods()
    assert found.keys() == METHODS.keys()
    assert found["every parameter"].means == [pytest.approx(1)]
    assert found["LoRA"].parameters == (14_592, 58_368, 233_472, 933_888)
