"""Truncated SVD, its error, and the comparison of subspaces, held against torch.linalg, SciPy and closed forms."""

import math

import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lorabook.errors import SettingError
from lorabook.workbook.low_rank.svd import (
    amplification,
    energy_kept,
    low_rank,
    rank_for_energy,
    spectrum,
    subspace_similarities,
    truncated_svd,
    truncation_error,
)

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
    assert truncation_error(spectrum(M), 3) < 1e-12
    assert truncation_error(spectrum(M), 2) == pytest.approx(0.5)


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


# Error and energy


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_error_is_eckart_young_and_adds_up_with_the_energy(d, k, seed):
    M = random(d, k, seed=seed)
    S, norm = spectrum(M), torch.linalg.norm(M).item()
    for r in range(len(S) + 1):
        residual = torch.linalg.norm(M - low_rank(M, r)).item() if r else norm
        assert truncation_error(S, r) == pytest.approx(residual, abs=1e-9)
        assert energy_kept(S, r) == pytest.approx(1 - (residual / norm) ** 2, abs=1e-9)


def test_energy_of_known_singular_values():
    S = torch.tensor([4.0, 2.0, 2.0, 1.0])  # squares 16, 4, 4, 1
    assert [energy_kept(S, r) for r in range(5)] == [0, 0.64, 0.8, 0.96, 1]
    assert truncation_error(S, 1) == 3.0


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.floats(0.01, 1))
@settings(max_examples=100, deadline=None)
def test_rank_for_energy_is_the_smallest_that_reaches_the_share(values, share):
    S = torch.tensor(sorted(values, reverse=True), dtype=torch.float64)
    r = rank_for_energy(S, share)
    assert energy_kept(S, r) >= share - 1e-12
    assert energy_kept(S, r - 1) < share


def test_rank_for_energy_at_its_ends():
    assert rank_for_energy(torch.tensor([2.0, 2.0]), 0.5) == 1  # a share met exactly is met
    assert rank_for_energy(torch.full((300,), 0.1), 1.0) == 300
    assert rank_for_energy(torch.tensor([3.0, 1.0, 0.0, 0.0]), 1.0) == 2


# Subspaces


def test_a_subspace_is_wholly_like_itself():
    A = random(6, 40)
    similarities = subspace_similarities(A, A)
    torch.testing.assert_close(similarities.diagonal(), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(similarities, torch.ones(6, 6, dtype=torch.float64))  # nested: the smaller lies within


def test_similarity_is_the_papers_formula():
    A1, A2 = random(4, 30, seed=1), random(7, 30, seed=2)
    V1, V2 = (torch.linalg.svd(A)[2].T for A in (A1, A2))
    similarities = subspace_similarities(A1, A2)
    assert similarities.shape == (4, 7)
    for i in range(1, 5):
        for j in range(1, 8):
            expected = torch.linalg.norm(V1[:, :i].T @ V2[:, :j]).item() ** 2 / min(i, j)
            assert similarities[i - 1, j - 1].item() == pytest.approx(expected)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_similarity_is_bounded_symmetric_and_blind_to_mixing(r1, r2, seed):
    A1, A2 = random(r1, 12, seed=seed), random(r2, 12, seed=seed + 1)
    similarities = subspace_similarities(A1, A2)
    assert (similarities >= 0).all() and (similarities <= 1 + 1e-12).all()
    torch.testing.assert_close(subspace_similarities(A2, A1), similarities.T)
    rotation = torch.linalg.qr(random(r1, r1, seed=seed + 2))[0]  # B A = (B R^T)(R A): the same update
    torch.testing.assert_close(subspace_similarities(rotation @ A1, A2), similarities)


def test_orthogonal_subspaces_have_nothing_in_common():
    A = torch.linalg.qr(random(10, 6))[0].T
    assert subspace_similarities(A[:3], A[3:]).abs().max() < 1e-12


def test_random_subspaces_overlap_by_their_share_of_the_space():
    """For i <= j the mean is j / k; as scipy.linalg.subspace_angles sees it, the mean of cos^2 over i angles."""
    k, i, j = 64, 4, 16

    def similar(A1: Tensor, A2: Tensor) -> float:
        return subspace_similarities(A1, A2)[i - 1, j - 1].item()

    values = [similar(random(8, k, seed=s), random(16, k, seed=1000 + s)) for s in range(200)]
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
    assert abs(mean - j / k) < 4 * spread / math.sqrt(len(values))
    A1, A2 = random(4, k, seed=5), random(16, k, seed=6)
    angles = scipy.linalg.subspace_angles(A1.T.numpy(), A2.T.numpy())
    assert similar(A1, A2) == pytest.approx((torch.tensor(angles).cos() ** 2).mean().item())


def test_directions_that_are_only_rounding_are_left_out():
    A = planted(5, 20, [3.0, 1.0]).float()
    assert subspace_similarities(A, random(3, 20)).shape == (2, 3)


# Amplification


def test_amplification_of_known_matrices():
    """W holds the update's direction with strength 2, the update has it with 5: a factor of 2.5."""
    U, V = torch.linalg.qr(random(9, 3))[0], torch.linalg.qr(random(7, 3, seed=4))[0]
    W = 2 * torch.outer(U[:, 0], V[:, 0]) + 9 * torch.outer(U[:, 1], V[:, 1])
    update = 5 * torch.outer(U[:, 0], V[:, 0])
    assert amplification(W, update, 1) == pytest.approx(2.5)
    assert amplification(update, update, 1) == pytest.approx(1.0)
    assert amplification(W, 5 * torch.outer(U[:, 2], V[:, 2]), 1) > 1e12


def test_amplification_is_the_papers_ratio():
    W, update = random(12, 8, seed=1), random(12, 4, seed=2) @ random(4, 8, seed=3)
    U, _, Vh = torch.linalg.svd(update)
    inside = torch.linalg.norm(U[:, :4].T @ W @ Vh[:4].T)
    assert amplification(W, update, 4) == pytest.approx((torch.linalg.norm(update) / inside).item())


# Refusals


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: low_rank(random(4, 3), 0), "r is 0. Give a whole number from 1 to 3."),
        (lambda: low_rank(random(4, 3), 4), "r is 4. Give a whole number from 1 to 3."),
        (lambda: low_rank(random(4, 3), 1.5), "r is 1.5."),
        (lambda: low_rank(random(4), 1), r"shape \(4,\)"),
        (lambda: spectrum(random(4, 3) * math.nan), "not finite"),
        (lambda: truncation_error(torch.tensor([1.0, 2.0]), 1), "no singular values"),
        (lambda: truncation_error(random(4, 3), 1), r"no singular values: \(4, 3\)"),
        (lambda: energy_kept(torch.zeros(3), 1), "All singular values are zero"),
        (lambda: rank_for_energy(torch.ones(3), 0), "share of energy is 0"),
        (lambda: rank_for_energy(torch.ones(3), 90), "share of energy is 90"),
        (lambda: subspace_similarities(random(2, 5), random(2, 6)), "5 columns and A2 has 6"),
        (lambda: subspace_similarities(torch.zeros(2, 5), random(2, 5)), "A1 is zero"),
        (lambda: amplification(random(3, 3), torch.zeros(3, 3), 1), "The update is zero"),
        (lambda: amplification(random(3, 4), random(4, 3), 1), r"W is \(3, 4\)"),
    ],
)
def test_what_cannot_be_is_refused(call, said):
    with pytest.raises(SettingError, match=said):
        call()
