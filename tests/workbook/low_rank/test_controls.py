"""Parts of an update at equal energy, against numpy; intruder dimensions, against matrices that have a known number."""

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from scipy.stats import ortho_group

from lorabook.workbook.low_rank.controls import intruders, same_energy


@pytest.fixture
def delta() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(24, 16, generator=generator) @ torch.diag(torch.linspace(2, 0.1, 16))


@pytest.mark.parametrize("r", [1, 4, 15, 16, 99])
def test_every_part_holds_the_energy_of_rank_r(delta, r):
    share, parts = same_energy(delta, r, torch.Generator().manual_seed(1))
    S = np.linalg.svd(delta.numpy(), compute_uv=False)
    assert share == pytest.approx((S[:r] ** 2).sum() / (S**2).sum(), rel=1e-5)
    for way, part in parts.items():
        assert part.square().sum() == pytest.approx(share * (S**2).sum(), rel=1e-4), way


def test_each_part_is_what_its_name_says(delta):
    share, parts = same_energy(delta, 4, torch.Generator().manual_seed(1))
    U, S, Vh = np.linalg.svd(delta.numpy(), full_matrices=False)
    np.testing.assert_allclose(parts["truncated"], (U[:, :4] * S[:4]) @ Vh[:4], atol=1e-5)
    np.testing.assert_allclose(parts["shrunk"], share**0.5 * delta, atol=1e-6)
    # Random directions: diagonal between ΔW's own singular vectors, most of them left out whole.
    between = U.T @ parts["directions"].numpy() @ Vh.T
    np.testing.assert_allclose(between, np.diag(np.diag(between)), atol=1e-4)
    kept = np.abs(np.diag(between)) > 1e-4
    assert 1 <= kept.sum() < 16
    np.testing.assert_allclose(np.diag(between)[kept] / S[kept], (np.diag(between)[kept] / S[kept])[0], rtol=1e-4)
    # Random entries: some of ΔW's, all scaled alike, the others zero.
    entries = parts["entries"] != 0
    scale = parts["entries"][entries] / delta[entries]
    assert 0.2 < entries.float().mean() < 0.9 and torch.allclose(scale, scale[0], rtol=1e-4)


def test_another_generator_draws_other_directions_and_entries(delta):
    (_, one), (_, two) = (same_energy(delta, 4, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert {way: torch.equal(one[way], two[way]) for way in one} == {
        "truncated": True, "shrunk": True, "directions": False, "entries": False,
    }  # fmt: skip


@pytest.mark.parametrize("planted", [0, 1, 3])
def test_planted_directions_are_counted_and_a_scaled_base_has_none(planted):
    U, V = (torch.tensor(ortho_group.rvs(32, random_state=seed), dtype=torch.float32) for seed in (0, 1))
    base = U @ torch.diag(torch.linspace(10, 5, 32)) @ V.T
    # Ten directions that each lie evenly over all of base's: cosines of 1 / sqrt(32) at most.
    mixed = torch.linalg.svd(torch.randn(32, 32, generator=torch.Generator().manual_seed(2))).U
    new = U @ torch.tensor(hadamard(32) / 32**0.5, dtype=torch.float32)
    tuned = base + 100 * sum((torch.outer(new[:, i], mixed[:, i]) for i in range(planted)), torch.zeros(32, 32))
    assert intruders(base, tuned, first=3) == planted
    assert intruders(base, -2 * base) == 0
