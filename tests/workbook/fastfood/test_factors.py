"""Fastfood's factors switched off, against products of scipy's matrix; the small network against nn.Sequential."""

import math

import pytest
import torch
from scipy.linalg import hadamard
from torch import nn

from lorabook.errors import SettingError
from lorabook.subspace.fastfood import FastfoodProjection
from lorabook.workbook.fastfood.factors import SWITCHED_OFF, D, accuracy, columns, logits, start, train, unit
from lorabook.workbook.kit.stored import stored
from scripts.assets import fastfood_factors as script
from tests.kit.tuned_rates import assert_rate_is_bracketed


@pytest.mark.parametrize("off", [*SWITCHED_OFF, "BG", "BGΠ", "BGΠH"])
def test_columns_are_those_of_the_dense_product(off):
    L, p = 32, FastfoodProjection(32, 32, seed=5)
    one = torch.eye(L)
    first, last = (one if {"H", number} & set(off) else torch.tensor(hadamard(L)).float() for number in ("1", "2"))
    B, G = (one if name in off else torch.diag(diagonal) for name, diagonal in (("B", p.B), ("G", p.G)))
    Pi = one if "Π" in off else one[p.gather.long()]
    torch.testing.assert_close(columns(L, 7, 5, off), (last @ G @ Pi @ first @ B)[:, :7], atol=1e-4, rtol=1e-4)


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
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
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
    P, theta0 = unit(columns(script.L, 64, 0)[:D]), start(0)
    theta = train(P, theta0, x, y, steps=40)
    before, after = (nn.functional.cross_entropy(logits(t, x), y) for t in (theta0, theta0 + P @ theta))
    assert theta.shape == (64,) and after < before - 0.5
    mirrored = train(-P, theta0, x, y, steps=40)
    assert torch.equal(mirrored, -theta)  # Adam treats a number and its negative alike


FOUND = stored("fastfood", "fastfood_factors")


def test_every_variant_is_tuned_at_every_dimension():
    runs = FOUND["digits"]["runs"]
    assert list(runs) == [str(size) for size in script.DIMENSIONS]
    for variants in runs.values():
        assert set(variants) == set(script.VARIANTS)
        for run in variants.values():
            assert_rate_is_bracketed(run["rates"], run["lr"], better=max)
            assert len(run["test"]) == len(FOUND["digits"]["seeds"])
        assert variants[""]["test"] == variants["B"]["test"]  # Adam treats a number and its negative alike


def test_a_stored_accuracy_is_that_of_this_code():
    kept = FOUND["digits"]["runs"]["64"]["G"]
    k = round(math.log2(kept["lr"] / script.RATE))
    assert script.reached(64, "G", k, 2)["test"] == pytest.approx(kept["test"][2], abs=0.03)


def test_did_and_said_are_both_tuned_on_the_same_seeds():
    said = FOUND["said"]
    for method in ("did", "said"):
        assert_rate_is_bracketed(said[method]["rates"], said[method]["lr"])
        assert len(said[method]["runs"]) == len(said["seeds"]) >= 12
    assert all(len(run["lambdas"]) == len(said["tensors"]) for run in said["said"]["runs"])


def test_the_permutation_test_finds_a_block_that_differs_and_no_other():
    tensors = {f"h.{block}.c_fc.weight": [8, 4] for block in range(4)} | {"h.3.ln.weight": [4], "wte.weight": [9, 4]}
    noise = torch.randn(12, 6, generator=torch.Generator().manual_seed(1))
    assert script.permutation_test((noise + torch.tensor([0.0, 0, 0, 3, 0, 0])).tolist(), tensors, 500)["p"] < 0.01
    for elsewhere in ([0.0] * 6, [0.0, 0, 0, 0, 9, 9]):  # a vector and an embedding are in no block
        assert script.permutation_test((noise + torch.tensor(elsewhere)).tolist(), tensors, 500)["p"] > 0.05


def test_the_stored_scales_by_block_are_means_over_matrices():
    said = FOUND["said"]
    again = script.permutation_test([run["lambdas"] for run in said["said"]["runs"]], said["tensors"], 2000)
    assert again["means"] == said["blocks"]["means"] and again["p"] == pytest.approx(said["blocks"]["p"], abs=0.05)


def test_operations_are_counted_while_the_transform_runs():
    assert script.cost() == FOUND["cost"]
    padded = FOUND["cost"]["L"]
    a_number = (FOUND["cost"]["operations"]["fastfood"] - 3 * padded) / (2 * padded)  # multiplications, both transforms
    assert 2 * 22 < a_number < 2 * 5 * 32  # more than log2(L) additions, at most five passes of 32
