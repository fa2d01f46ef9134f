"""The Rank explorer without a browser: its pure functions over their whole range, against NumPy's decomposition."""

import re

import numpy as np
import pytest
from matplotlib import pyplot

from lorabook.lora import matched
from lorabook.models import load_model
from lorabook.workbook.kit.stored import stored
from lorabook.workbook.low_rank import explorer as rank
from lorabook.workbook.low_rank.explorer import MATRICES, PICTURE, PRESETS, RANKS, RankExplorer, RankState
from lorabook.workbook.low_rank.figures import picture


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    model = load_model("pocket", device="cpu").model
    names = matched(model, ("all-linear", "wte", "wpe"))
    ours = {n.removeprefix("transformer.").removeprefix("h."): model.get_submodule(n).weight for n in names}
    return {PICTURE: picture().double().numpy()} | {n: w.detach().double().numpy() for n, w in ours.items()}


@pytest.fixture(scope="module")
def energies(weights) -> dict[str, np.ndarray]:
    squares = {name: np.linalg.svd(M, compute_uv=False) ** 2 for name, M in weights.items()}
    return {name: np.cumsum(s) / s.sum() for name, s in squares.items()}


def share_text(share: float) -> str:
    return f"{100 * share:.3g}%"


@pytest.mark.parametrize("matrix", MATRICES)
def test_every_state_is_drawn_and_told_as_numpy_has_it(matrix, weights, energies):
    M, shares = weights[matrix], energies[matrix]
    for r in RANKS:
        effective = min(r, *M.shape)
        text = rank.readout(RankState(matrix, r))
        (told,) = re.findall(r"keeps (over )?([\d.]+)% of its energy", text)
        assert float(told[1]) == pytest.approx(100 * shares[effective - 1], rel=6e-3)
        assert f"90% needs rank {int((shares < 0.9).sum()) + 1}." in text
        assert f"break-even at rank {M.size // sum(M.shape)}." in text
        assert ("more than the" in text) == (effective * sum(M.shape) > M.size)
        if r in (1, 16, 256) or matrix == PICTURE:
            figure = rank.figure(RankState(matrix, r))
            assert len(figure.axes) == 2 and f"rank {effective} keeps" in figure.texts[0].get_text()


def test_all_matrices_of_the_model_are_there(weights):
    assert sorted(weights) == sorted(MATRICES) and len(MATRICES) == 19


def test_the_three_images_are_the_matrix_its_best_part_and_the_rest(weights):
    """Read back from the grey values drawn: whole and rank 8 beside each other, a gap of an eighth between them."""
    shown = np.asarray(rank.figure(RankState(PICTURE, 8)).axes[0].get_images()[0].get_array())
    M = weights[PICTURE]
    U, S, Vh = np.linalg.svd(M)
    near = ((U[:, :8] * S[:8]) @ Vh[:8]).clip(0, 1)
    assert shown.shape == (160, 3 * 240 + 2 * 30, 3)
    assert shown[:, :240, 0] == pytest.approx(M, abs=1e-3) and shown[:, 270:510, 0] == pytest.approx(near, abs=1e-3)
    rest = shown[:, 540:]
    assert (rest[..., 0] > rest[..., 2] + 0.1).any() and (rest[..., 2] > rest[..., 0] + 0.1).any()  # both signs


def test_at_full_rank_nothing_is_left_out():
    for matrix in (PICTURE, "2.mlp.c_fc"):
        shown = np.asarray(rank.figure(RankState(matrix, 256)).axes[0].get_images()[0].get_array())
        columns = 240 if matrix == PICTURE else 64
        rest = shown[:, -columns:].reshape(-1, 3)
        assert np.ptp(rest, axis=0).max() < 0.02  # one colour: that of zero


def test_curves_are_the_stored_ones():
    run = stored("low_rank", "delta_w")
    axes = rank.figure(RankState("1.mlp.c_proj", 16)).axes[1]
    lines = {line.get_label(): line for line in axes.get_lines()}
    losses = run["long"]["runs"][0]["loss"]["blocks"]
    back = (losses[0] - np.array(losses[1:])) / (losses[0] - losses[-1])
    squares = np.square(run["long"]["delta"]["1.mlp.c_proj"])
    curves = [line for line in lines.values() if len(line.get_xdata()) > 2]
    assert curves[0].get_ydata() == pytest.approx(back)
    assert list(2 ** np.array(curves[0].get_xdata())) == pytest.approx(run["ranks"][1:])
    assert curves[1].get_ydata() == pytest.approx(np.cumsum(squares) / squares.sum())
    markers = [line.get_xdata()[0] for line in lines.values() if line.get_marker() == "s"]
    assert markers == [4.0] * 4  # log2 of 16, on each of the four curves


def test_the_stored_loss_is_told_for_the_right_cut():
    found = stored("low_rank", "delta_w")
    run, at = found["long"]["runs"][0], found["ranks"].index(16)
    block, embedding = (rank.readout(RankState(m, 16)) for m in ("0.attn.c_attn", "wpe"))
    assert f"16 block matrices cut to rank 16: {run['loss']['blocks'][at]:.3f} nats" in block
    assert f"embeddings too, cut to rank 16: {run['loss']['all'][at]:.3f} nats" in embedding
    assert "loss" not in rank.readout(RankState(PICTURE, 16))
    energy = run["energy"]["0.attn.c_attn"][at]
    assert f"rank 16 keeps {share_text(energy)}, of noise" in block


@pytest.fixture(scope="module")
def explorer() -> RankExplorer:
    return RankExplorer()


class TestWidget:
    def test_moves_change_picture_and_readout(self, explorer):
        for name, value in (("matrix", "0.attn.c_attn"), ("r", 32)):
            before = explorer.picture.value, explorer.text.value
            explorer.controls[name].value = value
            assert explorer.picture.value != before[0] and explorer.text.value != before[1]
        assert explorer.state == RankState("0.attn.c_attn", 32) and repr(explorer) == "RankExplorer()"

    def test_presets_are_states_that_the_controls_have(self, explorer):
        for state in PRESETS.values():
            explorer.state = state
            assert explorer.state == state and explorer.error.layout.display == "none"

    def test_no_redraw_leaves_a_figure_open(self, explorer):
        for r in RANKS:
            explorer.state = RankState(PICTURE, r)
        assert pyplot.get_fignums() == []
