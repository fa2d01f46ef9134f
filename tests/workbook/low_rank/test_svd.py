"""Truncated SVD and the energy it keeps, held against torch.linalg, SciPy and closed forms."""

import math

import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lorabook.errors import SettingError
from lorabook.workbook.low_rank.svd import energy_kept, low_rank, spectrum, truncated_svd

SHAPES = [(9, 5), (5, 9), (7, 7), (1, 4)]


def random(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def planted(d: int, k: int, singular: list[float]) -> Tensor:
    """A matrix with exactly these singular values."""
    r = len(singular)
    U, V = torch.linalg.qr(random(d, r, seed=1))[0], torch.linalg.qr(random(k, r, seed=2))[0]
    return U @ torch.diag(torch.tensor(singular, dtype=torch.float64)) @ V.T


# Truncated SVD


@pytest.mark.parametrize("shape", SHAPES)
def test_factors_have_their_shapes_and_are_orthonormal(shape):
    (d, k), r = shape, min(3, *shape)
    U, S, Vh = truncated_svd(random(*shape), r)
    assert (U.shape, S.shape, Vh.shape) == ((d, r), (r,), (r, k))
    torch.testing.assert_close(U.T @ U, torch.eye(r, dtype=torch.float64))
    torch.testing.assert_close(Vh @ Vh.T, torch.eye(r, dtype=torch.float64))
    assert (S.diff() <= 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_low_rank_is_the_best_of_its_rank(shape):
    """Against the eigenvectors of M^T M, which SciPy computes another way; and no random rank-r matrix comes closer."""
    M = random(*shape)
    for r in range(1, min(shape) + 1):
        near = low_rank(M, r)
        _, vectors = scipy.linalg.eigh((M.T @ M).numpy())
        V = torch.from_numpy(vectors[:, -r:].copy())
        torch.testing.assert_close(near, M @ V @ V.T)
        assert torch.linalg.matrix_rank(near) == r
        for seed in range(20):
            A = random(r, shape[1], seed=seed)
            other = torch.linalg.lstsq(A.T, M.T).solution.T @ A  # the best B for this A
            assert torch.linalg.norm(M - other) >= torch.linalg.norm(M - near) - 1e-9


def test_a_planted_rank_is_found_whole():
    M = planted(12, 8, [5.0, 2.0, 0.5])
    torch.testing.assert_close(low_rank(M, 3), M)
    torch.testing.assert_close(spectrum(M)[:3], torch.tensor([5.0, 2.0, 0.5], dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_half_precision_is_computed_in_fp32(dtype):
    M = random(8, 6).to(dtype)
    U, S, _ = truncated_svd(M, 2)
    assert U.dtype == S.dtype == (dtype if dtype in (torch.float32, torch.float64) else torch.float32)
    assert low_rank(M, 2).dtype == dtype
    torch.testing.assert_close(low_rank(M, 6), M, atol=1e-5, rtol=0)


def test_a_trained_parameter_can_be_given():
    factor = torch.nn.Parameter(random(4, 3))
    assert not low_rank(factor, 1).requires_grad


# Energy


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_energy_and_the_squared_error_of_the_closest_matrix_add_up(d, k, seed):
    M = random(d, k, seed=seed)
    S, norm = spectrum(M), torch.linalg.norm(M).item()
    for r in range(len(S) + 1):
        residual = torch.linalg.norm(M - low_rank(M, r)).item() if r else norm
        assert energy_kept(S, r) == pytest.approx(1 - (residual / norm) ** 2, abs=1e-9)


def test_energy_of_known_singular_values():
    S = torch.tensor([4.0, 2.0, 2.0, 1.0])  # squares 16, 4, 4, 1
    assert [energy_kept(S, r) for r in range(5)] == [0, 0.64, 0.8, 0.96, 1]


# Refusals


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: low_rank(random(4, 3), 0), "r is 0. Give a whole number from 1 to 3."),
        (lambda: low_rank(random(4, 3), 4), "r is 4. Give a whole number from 1 to 3."),
        (lambda: low_rank(random(4, 3), 1.5), "r is 1.5."),
        (lambda: low_rank(random(4), 1), r"shape \(4,\)"),
        (lambda: spectrum(random(4, 3) * math.nan), "not finite"),
        (lambda: energy_kept(torch.tensor([1.0, 2.0]), 1), "no singular values"),
        (lambda: energy_kept(random(4, 3), 1), r"no singular values: \(4, 3\)"),
        (lambda: energy_kept(torch.zeros(3), 1), "All singular values are zero"),
    ],
)
def test_what_cannot_be_is_refused(call, said):
    with pytest.raises(SettingError, match=said):
        call()
