"""The Fastfood explorer: its stages against the matrices written out, its texts, its picture."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard

from lorabook.workbook.explorers import FastfoodExplorer
from lorabook.workbook.fastfood import explorer as fastfood
from lorabook.workbook.fastfood.explorer import PRESETS, FastfoodState, drawn, stages
from tests.workbook.no_overlap import assert_no_text_cut_or_covered

STATES = st.builds(
    FastfoodState, st.integers(0, 63), st.sampled_from(list(fastfood.STEPS.values())), *[st.booleans()] * 4
)


@settings(max_examples=60, deadline=None)
@given(STATES)
def test_every_stage_is_its_matrix_times_the_one_before(state):
    p, H, one = drawn(), torch.tensor(hadamard(64)).float(), torch.eye(64)
    matrices = (
        torch.diag(p.B) if state.B else one,
        H if state.H else one,
        one[p.gather.long()] if state.Pi else one,
        torch.diag(p.G) if state.G else one,
        H if state.H else one,
    )
    before, *after = stages(state)
    assert before.sum() == before[state.spike] == 1
    for matrix, stage in zip(matrices, after, strict=True):
        before = matrix @ before
        torch.testing.assert_close(stage, before, atol=1e-3, rtol=1e-4)


def test_with_nothing_between_the_two_transforms_the_spike_comes_back_64_times_as_large():
    last = stages(FastfoodState(spike=9, Pi=False, G=False))[-1]
    assert last.nonzero().flatten().tolist() == [9] and last[9].abs() == 64
    assert "1 of 64 entries are not zero, with one size" in fastfood.readout(FastfoodState(9, Pi=False, G=False))


@pytest.mark.parametrize("state", [*PRESETS.values(), *(FastfoodState(step=step) for step in range(6))], ids=str)
def test_panels_up_to_the_step_are_drawn_and_no_text_is_cut(state):
    figure = fastfood.figure(state)
    drawn_panels = [len(axes.collections) > 0 for axes in figure.axes]
    assert drawn_panels == [place <= state.step for place in range(6)]
    off = [axes.get_title().endswith("off") for axes in figure.axes]
    assert off == [False, not state.B, not state.H, not state.Pi, not state.G, not state.H]
    assert_no_text_cut_or_covered(figure)


def test_a_switch_moves_the_state_and_the_picture():
    explorer = FastfoodExplorer()
    before = explorer.picture.value
    explorer.controls["G"].value = False
    assert explorer.state == replace(FastfoodState(), G=False) and explorer.picture.value != before
