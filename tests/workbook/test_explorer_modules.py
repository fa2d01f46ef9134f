"""The explorers' JavaScript against Python's `shown`: every integer and every text, over all states or many."""

import math
from collections.abc import Iterator
from dataclasses import fields
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorabook.workbook.explorers import Explorer, LoRAExplorer, MemoryExplorer
from scripts.assets.explorer_pictures import every_explorer
from scripts.checks.explorer_vectors import InNode, differences, drawn_states, plain

FEW, MANY = 8000, 1000


def every_state(explorer: Explorer) -> Iterator:
    """All states that the controls can make; for explorers without boxes."""
    for values in product(*(control.options.values() for control in explorer.controls.values())):
        yield type(explorer.default)(*values)


def states(explorer: Explorer) -> Iterator:
    """Every state where they are few, else many drawn by a seed."""
    if any(control.by for control in explorer.controls.values()):
        return drawn_states(explorer, MANY, seed=1)
    few = math.prod(len(control.options) for control in explorer.controls.values()) <= FEW
    return every_state(explorer) if few else drawn_states(explorer, MANY, seed=1)


@pytest.mark.seconds
@pytest.mark.parametrize("explorer", every_explorer(), ids=lambda explorer: type(explorer).__name__)
def test_the_module_shows_what_python_does(explorer):
    asked = list(states(explorer))
    assert len(set(asked)) >= 36 and explorer.default in asked  # all of the smallest explorer
    assert list(differences(explorer, asked)) == []


MEMORY, LORA = MemoryExplorer(), LoRAExplorer()


@pytest.fixture(scope="module")
def in_node() -> Iterator[tuple[InNode, InNode]]:
    nodes = InNode(MEMORY), InNode(LORA)
    yield nodes
    for node in nodes:
        node.close()


@st.composite
def hypothesis_states(draw, explorer: Explorer):
    values: dict = {}
    for field in fields(explorer.default):
        control = explorer.controls[field.name]
        options = list((control.options[values[control.by]] if control.by else control.options).values())
        if control.kind == "boxes":
            values[field.name] = tuple(draw(st.lists(st.sampled_from(options), unique=True)))
        else:
            values[field.name] = draw(st.sampled_from(options))
    return type(explorer.default)(**values)


@settings(max_examples=200, deadline=None)
@given(hypothesis_states(MEMORY))
@pytest.mark.seconds
def test_memory_in_states_that_hypothesis_looks_for(in_node, state):
    assert in_node[0](state) == plain(MEMORY.shown(state))


@settings(max_examples=200, deadline=None)
@given(hypothesis_states(LORA))
@pytest.mark.seconds
def test_lora_in_states_that_hypothesis_looks_for(in_node, state):
    assert in_node[1](state) == plain(LORA.shown(state))


SLIPS = {  # in estimate.js and numbers.js: what is there, what a slip of the hand would make of it
    "a norm's statistics": ("4 * nh + 8 * s.n + copies", "4 * nh + 4 * s.n + copies"),
    "a dropout's mask": ("mask: mixed ? 1 : 4", "mask: 1"),
    "the tied gradient": ("8 * shape.vocabulary * shape.width", "4 * shape.vocabulary * shape.width"),
    "8-bit blocks": ("Math.ceil(n / 256)", "Math.floor(n / 256)"),
    "the input let go": ("if (hits.length && !xKept) backward -= c * n * k;", ""),
    "a second chunk": ("labels > rows ? whole : 0", "labels >= rows ? whole : 0"),
    "halves to even": ("return tie && last % 2 ?", "return false ?"),
    "a fit to the byte": ("peak + SPARE <= bytes", "peak < bytes"),
}


@pytest.mark.parametrize(("there", "slip"), SLIPS.values(), ids=SLIPS)
def test_a_slip_in_the_javascript_is_caught(there, slip):
    assert LORA.module.count(there) == 1
    assert next(differences(LORA, drawn_states(LORA, MANY, seed=1), LORA.module.replace(there, slip)), None)
