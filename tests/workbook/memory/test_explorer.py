"""The Memory explorer without a browser: its pure functions over their whole range."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from lorabook.lora import LoRAConfig
from lorabook.memory.estimate import estimate
from lorabook.memory.gpus import GPUS
from lorabook.memory.plan import Plan
from lorabook.sizes import size_text
from lorabook.workbook.kit.alive import COLOURS, at_peak
from lorabook.workbook.kit.models import LOADABLE
from lorabook.workbook.kit.step_controls import BATCHES, OPTIMIZERS, PRECISIONS, SEQUENCES, plan_of
from lorabook.workbook.memory import explorer as memory
from lorabook.workbook.memory.explorer import MemoryExplorer, MemoryState

STATES = st.builds(
    MemoryState,
    *(
        st.sampled_from(list(options.values()))
        for options in (
            LOADABLE,
            PRECISIONS,
            OPTIMIZERS,
            memory.RANKS,
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
def test_bars_are_what_is_alive_at_the_peak(state):
    methods = [1.0, memory.method(state.r)] if state.r else [1.0]
    books = [estimate(state.model, plan_of(state, method)) for method in methods]
    bars = memory.shown(state)["bars"]
    assert list(bars) == ["full fine-tuning", f"LoRA at r = {state.r}"][: len(books)]
    for book, parts in zip(books, bars.values(), strict=True):
        assert parts == at_peak(book) and list(parts) == list(COLOURS)
        assert sum(parts.values()) == book.predicted_peak


@settings(max_examples=60, deadline=None)
@given(FITTING)
def test_readout_says_which_gpus_fit_and_the_largest_batch(state):
    text, plan = memory.readout(state), plan_of(state, memory.method(state.r))
    peak = estimate(state.model, plan).predicted_peak
    assert f"Peak: {size_text(peak)}," in text and "*" not in text
    room = text.split("Fits on: ")[1].split(".")[0]
    assert room == (", ".join(gpu for gpu, size in GPUS.items() if peak + 2**30 <= size) or "none of these GPUs")
    narrow = [gpu for gpu, size in GPUS.items() if peak <= size < peak + 2**30]
    assert ("to spare: " in text) == bool(narrow) and ", ".join(narrow) in text
    most = text.rsplit(": ", 1)[1].split(" ")[0]
    most = 0 if most == "not" else int(most.replace(",", ""))
    if most:
        assert estimate(state.model, replace(plan, batch=most)).predicted_peak <= GPUS["T4"] - 2**30
    assert estimate(state.model, replace(plan, batch=most + 1)).predicted_peak > GPUS["T4"] - 2**30


def test_full_fine_tuning_of_starcoder_is_twenty_bytes_a_parameter_in_the_optimizer_step():
    book = estimate("bigcode/starcoderbase-1b", plan_of(MemoryState(r=0), 1.0))
    drawn, fourth = at_peak(book), 4 * 1_137_207_296
    names = ("trainable weights", "gradients", "optimizer's workspace")
    assert [drawn[name] for name in names] == [fourth] * 3 and drawn["optimizer state"] == 2 * fourth
    assert "1,137,207,296 of 1,137,207,296" in memory.readout(MemoryState(r=0))


def test_a_sequence_beyond_the_model_is_shown_as_an_error():
    explorer = MemoryExplorer()
    explorer.state = MemoryState("pocket", sequence=1024)
    assert "pocket has 512 positions" in explorer.shown(explorer.state)["error"]
    assert "error" not in explorer.shown(MemoryState("pocket", sequence=512))


def test_titles_tell_what_fits():
    assert memory.shown(MemoryState())["title"].endswith(" and fits on Colab's T4")
    title = memory.shown(MemoryState("meta-llama/Llama-2-7b-hf", r=0))["title"]
    assert title.startswith("Full fine-tuning of Llama-2-7B needs")


def test_states_are_plans():
    expected = Plan(LoRAConfig(r=16), weights="fp16", batch=4, sequence=512)
    assert plan_of(MemoryState(), memory.method(16)) == expected
