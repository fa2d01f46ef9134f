"""d90 on a problem whose dimension is known, on made-up curves, and for losses as for accuracies."""

import importlib.util
import json
import math
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lorabook.errors import DataError, SettingError
from lorabook.subspace.fastfood import FastfoodProjection
from lorabook.subspace.training import apply_subspace
from lorabook.workbook.intrinsic_dimension.measure import Curve, Point, intrinsic_dimension, log_grid
from lorabook.workbook.kit.digits import load_digits

MNIST = Path(__file__).resolve().parents[3] / "benchmarks" / "mnist_d90.py"
D, SUMS = 1000, 10


def wanted(theta: Tensor) -> Tensor:
    """Li et al.'s toy: the k-th hundred parameters must add up to k. Its intrinsic dimension is ten by construction."""
    return (theta.view(SUMS, -1).sum(1) - torch.arange(1.0, SUMS + 1, dtype=theta.dtype)).square().sum()


def best_in_subspace(d: int, seed: int) -> float:
    """The least loss that any theta_d reaches, by least squares."""
    P = FastfoodProjection(d, D, seed)(torch.eye(d, dtype=torch.float64)).T
    sums = P.view(SUMS, -1, d).sum(1)
    target = torch.arange(1.0, SUMS + 1, dtype=torch.float64)
    return (sums @ torch.linalg.lstsq(sums, target).solution - target).square().sum().item()


def test_ten_sums_over_a_thousand_parameters_have_dimension_ten():
    start = wanted(torch.zeros(D)).item()
    curve = intrinsic_dimension(best_in_subspace, 0.0, range(1, 15), start=start, line=1 - 1e-9, seeds=range(3))
    assert curve.d == 10 and curve.d_by_seed == [10, 10, 10]
    shares = [share for _, share in curve.shares]
    assert shares == sorted(shares) and shares[8] < 0.9999


def test_training_in_a_subspace_finds_the_same_dimension():
    class Toy(nn.Module):
        def __init__(self):
            super().__init__()
            self.theta = nn.Parameter(torch.zeros(D, dtype=torch.float64))

    def train(d: int, seed: int) -> float:
        model = Toy()
        subspace = apply_subspace(model, d, seed=seed)
        optimizer = torch.optim.LBFGS([p for _, p in subspace.trained()], max_iter=200, line_search_fn="strong_wolfe")

        def closure() -> float:
            subspace.write()
            loss = wanted(model.theta)
            loss.backward()
            subspace.pull()
            return loss.item()

        for _ in range(3):
            optimizer.step(closure)
        return closure()

    start = wanted(torch.zeros(D)).item()
    for d in (8, 12):
        assert train(d, 0) == pytest.approx(best_in_subspace(d, 0), abs=1e-4 * start)
    assert intrinsic_dimension(train, 0.0, [9, 10, 11], start=start, line=0.9999).d == 10


def accuracy(d: int, seed: int) -> float:
    return 1 - math.exp(-d / 100) + 0.001 * seed


@pytest.mark.parametrize("scale, shift", [(1.0, 0.0), (-3.5, 4.8)])
def test_scores_that_rise_and_losses_that_fall_are_read_alike(scale, shift):
    """-100 ln 0.1 = 230.3: the first of the grid above it, whatever the score's direction and units."""

    def run(d: int, seed: int) -> float:
        return scale * accuracy(d, 0) + shift

    curve = intrinsic_dimension(run, scale + shift, [10, 100, 200, 231, 400], start=shift)
    assert curve.d == 231
    assert [d for d, _ in curve.shares] == [10, 100, 200, 231, 400]
    assert curve.shares[1][1] == pytest.approx(1 - math.exp(-1))


def test_against_a_weaker_baseline_the_dimension_is_smaller():
    """The published 750 is for an accuracy of 0.90; against 90% of the network's own 0.98 it would be less."""
    grid = range(200, 301)
    assert intrinsic_dimension(accuracy, 1.0, grid).d == 231
    assert intrinsic_dimension(accuracy, 0.98, grid).d == math.ceil(-100 * math.log(1 - 0.9 * 0.98)) == 214


def test_seeds_are_averaged_and_shown_apart():
    def run(d: int, seed: int) -> float:
        return [0.0, 0.8, 1.0][seed] if d < 50 else 0.95

    curve = intrinsic_dimension(run, 1.0, [10, 50], seeds=[1, 2])
    assert curve.points[0] == Point(10, (0.8, 1.0)) and curve.shares[0][1] == pytest.approx(0.9)
    assert curve.d_by_seed == [50, 10]
    assert intrinsic_dimension(run, 1.0, [10, 50], seeds=[0, 2]).d == 50
    assert intrinsic_dimension(run, 2.0, [10, 50], seeds=[0, 1, 2]).d is None
    nan = intrinsic_dimension(lambda d, seed: math.nan if d < 50 else 1.0, 1.0, [10, 50])
    assert nan.d == 50  # a run that diverged reaches no line


def test_stopping_and_refining_measure_where_it_matters():
    seen: list[int] = []

    def run(d: int, seed: int) -> float:
        seen.append(d)
        return accuracy(d, seed)

    curve = intrinsic_dimension(run, 1.0, log_grid(10, 10_000, 3), stop=True)
    assert seen == [10, 22, 46, 100, 215, 464] == [p.d for p in curve.points] and curve.d == 464
    curve = intrinsic_dimension(run, 1.0, [100, 400, 1600], stop=True, refine=3)
    assert seen[6:] == [100, 400, 200, 283, 238]
    assert [p.d for p in curve.points] == [100, 200, 238, 283, 400] and curve.d == 238
    assert intrinsic_dimension(accuracy, 1.0, [229, 232], refine=9).d == 231
    assert len(intrinsic_dimension(accuracy, 1.0, [400, 500], refine=9).points) == 2  # nothing below
    assert len(intrinsic_dimension(accuracy, 1.0, [5, 6], refine=9).points) == 2  # nothing above


def test_the_grid_is_even_on_a_logarithmic_axis():
    assert log_grid(10, 10_000, 1) == [10, 100, 1000, 10_000]
    assert log_grid(1, 10, 20)[:4] == [1, 2, 3, 4]  # rounded, none twice
    uneven = log_grid(100, 5000)
    assert (uneven[0], uneven[-1], len(uneven)) == (100, 5000, 8) and log_grid(7, 7) == [7]
    ratios = [b / a for a, b in pairwise(uneven)]
    assert max(ratios) / min(ratios) < 1.02 and max(ratios) <= 10**0.25
    for low, high, per_decade in ((0, 5, 4), (6, 5, 4), (1, 5, 0)):
        with pytest.raises(SettingError, match="The grid runs from"):
            log_grid(low, high, per_decade)


def test_a_curve_is_written_as_json():
    stored = intrinsic_dimension(accuracy, 1.0, [100, 300], seeds=[0, 1]).to_json()
    assert stored["d"] == 300 and stored["d_by_seed"] == [300, 300] and stored["full"] == 1.0
    points = tuple(Point(p["d"], tuple(p["scores"])) for p in stored["points"])
    assert Curve(points, stored["full"], stored["start"], stored["line"]).d == 300


def test_what_cannot_be_measured_is_refused():
    for arguments, words in (
        ({"full": 0.0}, "Full training goes from 0.0 to 0.0"),
        ({"full": math.nan}, "Give two different, finite scores"),
        ({"grid": []}, "The grid is"),
        ({"grid": [0, 5]}, "The grid is"),
        ({"seeds": []}, "with the seeds"),
        ({"line": 0}, "The line is 0"),
        ({"line": 90}, "such as 0.9"),
    ):
        with pytest.raises(SettingError, match=words):
            intrinsic_dimension(**({"run": accuracy, "full": 1.0, "grid": [1, 2]} | arguments))


def mnist_script():
    spec = importlib.util.spec_from_file_location("mnist_d90", MNIST)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


IMAGES, DIGITS = np.full((4, 28, 28), 200, np.uint8), np.arange(4)
GOOD = {"x_train": IMAGES, "y_train": DIGITS, "x_test": IMAGES, "y_test": DIGITS}


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x_train": IMAGES}, "lacks y_train, x_test, y_test"),
        (GOOD | {"x_test": IMAGES[:, :8]}, r"images \(4, 8, 28\) with labels \(4,\)"),
        (GOOD | {"y_test": DIGITS[:3]}, r"images \(4, 28, 28\) with labels \(3,\)"),
        (GOOD | {"x_train": IMAGES / 255}, "pixels from"),
        (GOOD | {"y_train": DIGITS + 7}, "labels from 7 to 10"),
    ],
)
def test_the_mnist_benchmark_refuses_other_arrays(tmp_path, arrays, said):
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(DataError, match=said):
        mnist_script().load(tmp_path / "wrong.npz")


def test_the_mnist_benchmark_refuses_other_files(tmp_path, monkeypatch, capsys):
    (tmp_path / "text.npz").write_text("no archive")
    for name, said in (("text.npz", "text.npz is no .npz file"), ("gone.npz", "gone.npz is not there")):
        monkeypatch.setattr(sys, "argv", ["mnist_d90.py", "--data", str(tmp_path / name)])
        with pytest.raises(SystemExit):
            mnist_script().main()
        assert said in capsys.readouterr().err


@pytest.mark.seconds
def test_the_mnist_benchmark_ends_with_its_d90(tmp_path, monkeypatch, capsys):
    """On scikit-learn's digits blown up to MNIST's size and format: what runs here is the script, not its figure."""
    pixels, labels = (values.numpy() for values in load_digits())
    images = np.kron(pixels.reshape(-1, 8, 8) * 254.4, np.ones((1, 3, 3))).astype(np.uint8)
    images = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    parts = {"x_train": images[:1500], "y_train": labels[:1500], "x_test": images[1500:], "y_test": labels[1500:]}
    np.savez(tmp_path / "digits.npz", **parts)
    script = mnist_script()

    def call(*arguments: object) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["mnist_d90.py", *map(str, arguments)])
        script.main()
        return capsys.readouterr().out.splitlines()

    assert sum(p.numel() for p in script.network(0).parameters()) == 199_210
    stored = tmp_path / "result.json"
    shape = ("--data", tmp_path / "digits.npz", "--output", stored, "--epochs", 3, "--batch", 64)
    lines = call(*shape, "--grid", 10, 400, "--refine", 1, "--line", 0.6)
    result = json.loads(stored.read_text())
    assert lines[-1] == f"d90: {result['d']}" and result["d"] in (63, 400)
    assert [p["d"] for p in result["points"]] == [10, 63, 400] and (result["train"], result["held_out"]) == (1500, 297)
    assert "nothing measured" in call()[0]
