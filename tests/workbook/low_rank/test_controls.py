"""Parts of an update beside controls of their energy, against NumPy; intruder dimensions, against a known number."""

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from scipy.stats import ortho_group

from lorabook.workbook.low_rank.controls import intruders, parts


@pytest.fixture
def change() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"a": (24, 16), "b": (8, 30)}
    return {name: torch.randn(*shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}


def flat(update: dict[str, torch.Tensor]) -> np.ndarray:
    return np.concatenate([part.numpy().ravel() for part in update.values()])


@pytest.mark.parametrize("r", [1, 4, 8])
def test_each_part_is_what_its_name_says(change, r):
    _, found = parts(change, r)
    for name, delta in change.items():
        U, S, Vh = np.linalg.svd(delta.numpy(), full_matrices=False)
        np.testing.assert_allclose(found["truncated"][name], (U[:, :r] * S[:r]) @ Vh[:r], atol=1e-12)
        np.testing.assert_allclose(found["rest"][name], (U[:, r:] * S[r:]) @ Vh[r:], atol=1e-12)


@pytest.mark.parametrize("r", [1, 4, 8])
def test_a_part_and_its_controls_have_equal_energy_and_the_scaled_one_is_parallel_to_the_change(change, r):
    """The squared length, all matrices taken as one vector."""
    e, found = parts(change, r)
    whole = flat(change)
    energy = {name: flat(update) @ flat(update) / (whole @ whole) for name, update in found.items()}
    assert energy["truncated"] == pytest.approx(energy["scaled"]) == pytest.approx(e)
    assert energy["rest"] == pytest.approx(energy["scaled rest"]) == pytest.approx(1 - e)
    assert energy["random"] == pytest.approx(e, abs=0.1)
    assert energy["random rest"] == pytest.approx(1 - energy["random"])
    for name, delta in change.items():
        kept = found["random"][name] != 0
        assert torch.equal(found["random"][name], delta * kept)
        assert torch.equal(found["random rest"][name], delta * ~kept)
    for name in ("scaled", "scaled rest"):
        assert flat(found[name]) @ whole == pytest.approx(np.linalg.norm(flat(found[name])) * np.linalg.norm(whole))


def test_beyond_its_rank_a_matrix_is_whole(change):
    e, found = parts(change, 99)
    assert e == pytest.approx(1)
    np.testing.assert_allclose(flat(found["truncated"]), flat(change), atol=1e-12)
    np.testing.assert_allclose(flat(found["rest"]), 0, atol=1e-12)


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
