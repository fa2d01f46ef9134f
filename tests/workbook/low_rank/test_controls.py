"""Parts of an update beside controls of their energy, against NumPy."""

import numpy as np
import pytest
import torch

from lorabook.workbook.low_rank.controls import parts


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
