"""The Fastfood explorer: its stages against the matrices written out, its texts."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard

from lorabook.workbook.fastfood import explorer as fastfood
from lorabook.workbook.fastfood.explorer import FastfoodState, drawn, stages

STATES = st.builds(
    FastfoodState, st.integers(0, 31), st.sampled_from(list(fastfood.STEPS.values())), *[st.booleans()] * 4
)


@settings(max_examples=60, deadline=None)
@given(STATES)
def test_every_stage_is_its_matrix_times_the_one_before(state):
    p, H, one = drawn(), torch.tensor(hadamard(32)).double(), torch.eye(32).double()
    matrices = (
        torch.diag(p.B.double()) if state.B else one,
        H if state.H else one,
        one[p.gather.long()] if state.Pi else one,
        torch.diag(p.G.double()) if state.G else one,
        H if state.H else one,
    )
    before, *after = stages(state)
    assert before.sum() == before[state.spike] == 1
    for matrix, stage in zip(matrices, after, strict=True):
        before = matrix @ before
        assert torch.equal(stage, before)  # sums of 32 fp32 numbers are exact in fp64


def test_with_nothing_between_the_two_transforms_the_spike_comes_back_32_times_as_large():
    last = stages(FastfoodState(spike=9, Pi=False, G=False))[-1]
    assert last.nonzero().flatten().tolist() == [9] and last[9].abs() == 32
    assert (
        "1 of 32 entries are not zero, with one size" in fastfood.shown(FastfoodState(9, Pi=False, G=False))["readout"]
    )


def test_entries_are_counted_at_the_state_s_step():
    kinds = ["one size"] * 4 + ["32 different sizes"] * 2
    for step, (count, kind) in enumerate(zip((1, 1, 32, 32, 32, 32), kinds)):
        found = fastfood.shown(FastfoodState(step=step))
        assert found["title"] == "Two spikes, at 20 (blue) and at 21 (orange)" and found["step"] == step
        assert found["readout"].endswith(f"{count} of 32 entries are not zero, with {kind}.")
        assert sum(value != 0 for value in found["stages"][step]) == count


def test_the_next_spike_of_the_last_position_is_the_first():
    found = fastfood.shown(FastfoodState(spike=31))
    assert found["next"] == fastfood.shown(FastfoodState(spike=0))["stages"] and "and at 0 (orange)" in found["title"]


def test_without_the_second_transform_two_columns_differ_only_in_their_signs():
    found = fastfood.shown(FastfoodState(step=4))
    blue, orange = (torch.tensor(found[key][4]) for key in ("stages", "next"))
    assert torch.equal(blue.abs(), orange.abs()) and not torch.equal(blue, orange)
