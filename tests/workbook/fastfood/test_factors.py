"""Fastfood's factors switched off, against products of scipy's matrix; the small network against nn.Sequential."""

import pytest
import torch
from scipy.linalg import hadamard
from torch import nn

from lorabook.errors import SettingError
from lorabook.subspace.fastfood import FastfoodProjection
from lorabook.workbook.fastfood.factors import SWITCHED_OFF, D, accuracy, columns, logits, start, train, unit
from lorabook.workbook.kit.digits import load_digits
from lorabook.workbook.kit.stored import stored


@pytest.mark.parametrize("off", [*SWITCHED_OFF, "BG", "BGΠ", "BGΠH"])
def test_columns_are_those_of_the_dense_product(off):
    L, p = 32, FastfoodProjection(32, 32, seed=5)
    one = torch.eye(L)
    H = one if "H" in off else torch.tensor(hadamard(L)).float()
    B, G = (one if name in off else torch.diag(diagonal) for name, diagonal in (("B", p.B), ("G", p.G)))
    Pi = one if "Π" in off else one[p.gather.long()]
    torch.testing.assert_close(columns(L, 7, 5, off), (H @ G @ Pi @ H @ B)[:, :7], atol=1e-4, rtol=1e-4)


def test_the_whole_product_is_the_projection():
    p = FastfoodProjection(64, 64, seed=2)
    torch.testing.assert_close(columns(64, 64, 2) / p.c, p(torch.eye(64)).T)
    torch.testing.assert_close(unit(columns(64, 9, 2)).norm(dim=0), torch.ones(9))


@pytest.mark.parametrize(("d", "off"), [(9, "S"), (0, ""), (33, "B")])
def test_what_there_is_not_is_refused(d, off):
    with pytest.raises(SettingError):
        columns(32, d, 0, off)


def test_the_network_is_an_ordinary_one():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    state = torch.get_rng_state()
    theta = start(3)
    assert torch.equal(torch.get_rng_state(), state) and theta.shape == (D,)
    assert torch.equal(theta, nn.utils.parameters_to_vector(model.parameters()))
    x = torch.randn(5, 64)
    torch.testing.assert_close(logits(theta, x), model(x))
    assert accuracy(theta, x, model(x).argmax(1)) == 1 and accuracy(theta, x, model(x).argmin(1)) == 0


def test_training_stays_in_the_subspace_and_lowers_the_loss():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 64, generator=generator), torch.randint(0, 10, (60,), generator=generator)
    P, theta0 = unit(columns(2048, 64, 0)[:D]), start(0)
    theta = train(P, theta0, x, y, steps=40)
    before, after = (nn.functional.cross_entropy(logits(t, x), y) for t in (theta0, theta0 + P @ theta))
    assert theta.shape == (64,) and after < before - 0.5
    mirrored = train(-P, theta0, x, y, steps=40)
    assert torch.equal(mirrored, -theta)  # Adam treats a number and its negative alike


def test_the_shipped_accuracies_are_those_of_this_code():
    """One of the stored runs, again; and B, which changes nothing, changed nothing."""
    run = stored("fastfood", "fastfood_factors")["digits"]
    for reached in run["accuracy"].values():
        assert set(reached) == set(SWITCHED_OFF) and reached[""] == reached["B"]
        assert {len(values) for values in reached.values()} == {run["seeds"]}
    x, y = load_digits()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    held, seen = order[: run["held_out"]], order[run["held_out"] :]
    P, theta0 = unit(columns(run["L"], 64, 2, "G")[:D]), start(2)
    theta = theta0 + P @ train(P, theta0, x[seen], y[seen], run["steps"], run["lr"])
    assert accuracy(theta, x[held], y[held]) == pytest.approx(run["accuracy"]["64"]["G"][2], abs=0.03)
