"""The exercises held against the library and PyTorch, and right answers in other words."""

import numpy as np
import pytest
import torch

from lorabook.subspace.projection import DenseProjection
from lorabook.workbook.exercises import EXERCISES
from lorabook.workbook.intrinsic_dimension.measure import Curve, Point
from tests.workbook.mistake_bank import load, said

PROJECT_UP, READ_D90 = (load(EXERCISES[n].solution) for n in ("project_up", "read_d90"))


def test_project_up_is_the_dense_projection_of_the_library():
    projection = DenseProjection(6, 40, seed=3)
    R = torch.randn(6, 40, generator=torch.Generator().manual_seed(3)).T
    theta0, theta_d = torch.arange(40.0), torch.linspace(-1, 1, 6)
    torch.testing.assert_close(PROJECT_UP(theta0, R, theta_d), theta0 + projection(theta_d))
    assert torch.equal(PROJECT_UP(theta0, R, None), theta0)


def test_read_d90_is_the_curve_of_the_library():
    numbers = np.random.default_rng(0)
    for _ in range(100):
        losses = {int(d): float(loss) for d, loss in zip(numbers.permutation(50)[:5] + 1, numbers.uniform(2, 4, 5))}
        runs = {"pretrained": {"start": 4.0, "full": 2.0, "curve": losses}}
        points = tuple(Point(d, (losses[d],)) for d in sorted(losses))
        assert READ_D90(runs, "pretrained") == Curve(points, full=2.0, start=4.0).d


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("project_up", "lambda t, R, v: t + (0 if v is None else F.normalize(R.detach(), dim=0).mv(v))"),
        ("project_up", "lambda t, R, v: t.clone() if v is None else t + R.detach() @ (v / R.detach().norm(dim=0))"),
        ("read_d90", "lambda runs, m: next((d for d, y in sorted(runs[m]['curve'].items()) if y <= "
         "runs[m]['start'] - 0.9 * (runs[m]['start'] - runs[m]['full'])), None)"),
    ],
)  # fmt: skip
def test_a_right_answer_passes_however_it_is_written(name, source, capsys):
    assert said(capsys, name, eval(source, {"torch": torch, "F": torch.nn.functional})).startswith("✓")
