"""The Rank explorer without a browser: its pure functions over their whole range, against NumPy's decomposition."""

import re
import zlib
from base64 import b64decode

import numpy as np
import pytest

from lorabook.lora import matched
from lorabook.models import load_model
from lorabook.workbook.kit.stored import stored
from lorabook.workbook.low_rank import explorer as rank
from lorabook.workbook.low_rank.explorer import MATRICES, PICTURE, RANKS, RankState, explorer_data
from lorabook.workbook.low_rank.figures import picture


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    model = load_model("pocket", device="cpu").model
    names = matched(model, ("all-linear", "wte", "wpe"))
    ours = {n.removeprefix("transformer.").removeprefix("h."): model.get_submodule(n).weight for n in names}
    halves = picture().double().numpy().reshape(80, 2, 120, 2).mean((1, 3))
    return {PICTURE: halves} | {n: w.detach().double().numpy() for n, w in ours.items()}


@pytest.fixture(scope="module")
def energies(weights) -> dict[str, np.ndarray]:
    squares = {name: np.linalg.svd(M, compute_uv=False) ** 2 for name, M in weights.items()}
    return {name: np.cumsum(s) / s.sum() for name, s in squares.items()}


def share_text(share: float) -> str:
    return f"{100 * share:.3g}%"


@pytest.mark.parametrize("matrix", MATRICES)
def test_every_state_is_told_as_numpy_has_it(matrix, weights, energies):
    M, shares = weights[matrix], energies[matrix]
    for r in RANKS:
        effective = min(r, *M.shape)
        text = rank.readout(RankState(matrix, r))
        (told,) = re.findall(r"keeps (over )?([\d.]+)% of its energy", text)
        assert float(told[1]) == pytest.approx(100 * shares[effective - 1], rel=6e-3)
        assert f"90% needs rank {int((shares < 0.9).sum()) + 1}." in text
        assert f"break-even at rank {M.size // sum(M.shape)}." in text
        assert ("more than the" in text) == (effective * sum(M.shape) > M.size)
        assert f"rank {effective} keeps" in rank.shown(RankState(matrix, r))["title"]


def test_all_matrices_of_the_model_are_there(weights):
    assert sorted(weights) == sorted(MATRICES) and len(MATRICES) == 19


def test_the_images_are_the_matrix_and_its_best_part(weights):
    for matrix, most, rows, columns in ((PICTURE, 40, 80, 120), ("2.mlp.c_fc", 16, 20, 20)):
        M = weights[matrix]
        scale = 1 if matrix == PICTURE else 2.5 * M[:rows, :columns].std(ddof=1)
        U, S, Vh = np.linalg.svd(M, full_matrices=False)
        for r in RANKS:
            near = ((U[:, :r] * S[:r]) @ Vh[:r])[:rows, :columns] / scale * most
            shown = rank.shown(RankState(matrix, r))
            assert (shown["rows"], shown["columns"], shown["levels"]) == (rows, columns, most)
            kept = np.reshape(shown["kept"], (rows, columns))
            assert np.abs(kept - near.clip(-16, most + 16)).max() <= 0.5 + 1e-6
    assert shown["kept"] == shown["whole"]  # at full rank


def test_what_ships_is_what_the_model_gives():
    ours, ships = explorer_data(), stored("low_rank", "explorer_data")["data"]
    assert flat(ours | {"levels": 0}) == pytest.approx(flat(ships | {"levels": 0}), abs=1e-6)
    levels = [np.frombuffer(zlib.decompress(b64decode(data["levels"])), np.uint8) for data in (ours, ships)]
    assert (levels[0] != levels[1]).mean() < 1e-4  # another machine may round an entry to the other side


def flat(value) -> dict:
    """Every number by its path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return {"": value} if isinstance(value, int | float) else {}
    return {f"{key}/{rest}": number for key, below in items for rest, number in flat(below).items()}


def test_curves_are_the_stored_ones():
    run = stored("low_rank", "delta_w")
    curves = rank.shown(RankState("1.mlp.c_proj", 16))["curves"]
    losses = run["long"]["runs"][0]["loss"]["blocks"]
    back = (losses[0] - np.array(losses)) / (losses[0] - losses[-1])
    squares = np.square(run["long"]["delta"]["1.mlp.c_proj"])
    energy = np.cumsum(squares) / squares.sum()
    recovery = dict(curves["recovery, all updates cut to r"])
    assert recovery == pytest.approx({r: back[run["ranks"].index(r)] for r in RANKS}, abs=1e-4)
    assert dict(curves["energy of its ΔW"]) == pytest.approx({r: energy[r - 1] for r in RANKS}, abs=1e-4)


def test_the_stored_loss_is_told_for_the_right_cut():
    found = stored("low_rank", "delta_w")
    run, at = found["long"]["runs"][0], found["ranks"].index(16)
    block, embedding = (rank.readout(RankState(m, 16)) for m in ("0.attn.c_attn", "wpe"))
    assert f"16 block matrices cut to rank 16: {run['loss']['blocks'][at]:.3f} nats" in block
    assert f"embeddings too, cut to rank 16: {run['loss']['all'][at]:.3f} nats" in embedding
    assert "loss" not in rank.readout(RankState(PICTURE, 16))
    energy = run["energy"]["0.attn.c_attn"][at]
    assert f"rank 16 keeps {share_text(energy)}, of noise" in block
