"""The Fading explorer's stored run, held to its script where that takes seconds."""

import pytest

from lorabook.models.load import load_model
from lorabook.workbook.from_scratch.explorer import TENTHS, FadingExplorer, FadingState
from lorabook.workbook.kit.stored import stored
from lorabook.workbook.kit.styles import completions
from scripts.assets import fading


@pytest.mark.seconds
def test_at_factor_zero_the_stored_texts_are_those_of_the_base():
    found, loaded = stored("from_scratch", "fading"), load_model("pocket", device="cpu")
    written = completions(loaded.model, loaded.tokenizer, fading.EACH, fading.NEW_TOKENS, seed=0)
    assert found["counts"][0] == list(fading.counted(written))
    assert all(written[i].endswith(text) for i, text in zip(fading.SHOWN, found["texts"][0]))


def test_the_habit_fades_in():
    explorer = FadingExplorer()
    said = explorer.shown(FadingState(10))
    assert len(said["percent"]) == len(TENTHS) == len(fading.TENTHS)
    assert said["percent"][0] < 20 < 90 < said["percent"][TENTHS.index(10)]
    assert said["percent"][-1] < 20
    assert not any('"""' in line for line in explorer.shown(FadingState(0))["lines"])
    assert any('"""' in line for line in said["lines"])
