"""The exercises' solutions against scipy's matrix, autograd, and the library's subspace."""

import pytest
import torch
from scipy.linalg import hadamard

from lorabook.subspace.fastfood import FastfoodProjection
from lorabook.workbook.exercises import EXERCISES
from tests.workbook.mistake_bank import load

ANSWERS = {name: load(EXERCISES[name].solution) for name in ("fwht", "fastfood_adjoint")}


@pytest.mark.parametrize("n", [1, 2, 8, 64])
def test_fwht_is_a_product_with_scipys_matrix(n):
    x = torch.randn(n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    torch.testing.assert_close(ANSWERS["fwht"](x), torch.tensor(hadamard(n)).double() @ x)


@pytest.mark.parametrize(("d", "D"), [(3, 5), (20, 50), (16, 16)])
def test_the_adjoint_is_the_gradient_of_the_projection(d, D):
    p, whole = FastfoodProjection(d, D, seed=4), FastfoodProjection(1 << (D - 1).bit_length(), D, seed=4)
    theta = torch.zeros(d, requires_grad=True)
    w = torch.randn(D, generator=torch.Generator().manual_seed(0))
    (expected,) = torch.autograd.grad(p(theta), theta, w)
    found = ANSWERS["fastfood_adjoint"](w, whole.B, whole.gather.long(), whole.G, d, whole.c)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
