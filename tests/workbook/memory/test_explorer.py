"""The Memory explorer without a browser: its pure functions over their whole range."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabook.memory.estimate import estimate
from lorabook.memory.gpus import GPUS
from lorabook.memory.plan import Plan
from lorabook.workbook.kit.memory_bars import COLOURS
from lorabook.workbook.kit.models import LOADABLE
from lorabook.workbook.kit.sizes import size_text
from lorabook.workbook.kit.step_controls import BATCHES, OPTIMIZERS, PRECISIONS, SEQUENCES, plan_of
from lorabook.workbook.memory import explorer as memory
from lorabook.workbook.memory.explorer import MemoryExplorer, MemoryState
from tests.workbook.no_overlap import assert_no_text_cut_or_covered

STATES = st.builds(
    MemoryState,
    *(
        st.sampled_from(list(options.values()))
        for options in (
            LOADABLE,
            PRECISIONS,
            OPTIMIZERS,
            memory.SHARES,
            BATCHES,
            SEQUENCES,
            {"on": True, "off": False},
            memory.ATTENTIONS,
            memory.LOSSES,
        )
    ),
)
PLACES = {"pocket": 512, "meta-llama/Llama-2-7b-hf": 4096}
FITTING = STATES.filter(lambda state: state.sequence <= PLACES.get(state.model, 8192))


@settings(max_examples=60, deadline=None)
@given(FITTING)
def test_bars_are_the_ledger_and_the_line_is_its_peak(state):
    (axes,) = memory.figure(state).axes
    unit = {"MiB": 2**20, "GiB": 2**30, "TiB": 2**40}[axes.get_ylabel()[8:11]]
    methods = [1.0] if state.share == 1 else [1.0, state.share]
    books = [estimate(state.model, plan_of(state, method)) for method in methods]
    bars = np.array([patch.get_height() * unit for patch in axes.patches]).reshape(len(books), len(COLOURS) + 1)
    for book, heights in zip(books, bars):
        assert heights[:-1] == pytest.approx([book.components[name] for name in COLOURS])
        assert heights[-1] == pytest.approx(max(0, sum(book.components.values()) - book.predicted_peak))
    lines = [line.get_segments() for line in axes.collections if line.get_linewidths()[0] == 3]
    assert [segment[0][1] * unit for segment in lines[0]] == pytest.approx([b.predicted_peak for b in books])


@settings(max_examples=60, deadline=None)
@given(FITTING)
def test_no_text_is_cut_or_lies_on_another(state):
    assert_no_text_cut_or_covered(memory.figure(state))


@settings(max_examples=60, deadline=None)
@given(FITTING)
def test_readout_says_which_cards_fit_and_the_largest_batch(state):
    text, plan = memory.readout(state), plan_of(state, state.share)
    peak = estimate(state.model, plan).predicted_peak
    assert f"Peak: {size_text(peak)}," in text and "*" not in text
    room = text.split("Room for the peak: ")[1].split(".")[0]
    assert room == (", ".join(card for card, size in GPUS.items() if peak <= size) or "none")
    rows = text.rsplit(": ", 1)[1].split(" ")[0]
    most = 0 if rows == "not" else int(rows.replace(",", ""))
    if most:
        assert estimate(state.model, replace(plan, batch=most)).predicted_peak <= GPUS["T4"]
    assert estimate(state.model, replace(plan, batch=most + 1)).predicted_peak > GPUS["T4"]


def test_full_fine_tuning_of_starcoder_is_sixteen_bytes_a_parameter():
    text = memory.readout(MemoryState(share=1.0, batch=1, weights="fp32"))
    sizes = dict(part.rsplit(" ", 2)[:2] for part in text.split("full size: ")[1].split(".\n")[0].split(", "))
    kept = [float(sizes[name]) for name in ("trainable weights", "gradients", "optimizer state")]
    assert sum(kept) == pytest.approx(16 * 1_137_207_296 / 2**30, abs=0.02)
    assert "1,137,207,296 of 1,137,207,296" in text


def test_a_sequence_beyond_the_model_is_shown_as_an_error():
    explorer = MemoryExplorer()
    explorer.state = MemoryState("pocket", sequence=1024)
    assert "pocket has 512 positions" in explorer.error.value and explorer.error.layout.display is None
    explorer.state = MemoryState("pocket", sequence=512)
    assert explorer.error.layout.display == "none"


def test_titles_tell_what_fits():
    (axes,) = memory.figure(MemoryState()).axes
    assert axes.get_title("left").endswith("a T4 has room for it, and none for full fine-tuning")
    (axes,) = memory.figure(MemoryState("meta-llama/Llama-2-7b-hf", share=1.0)).axes
    assert axes.get_title("left").startswith("Full fine-tuning of Llama-2-7B needs")


def test_states_are_plans():
    expected = Plan(0.01, weights="fp16", batch=4, sequence=512)
    assert plan_of(MemoryState(), 0.01) == expected
