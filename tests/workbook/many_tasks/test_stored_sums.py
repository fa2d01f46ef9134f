"""The stored sums of style adapters: whole, clear enough for what is said of them, and those of today's code."""

import pytest
import torch

from lorabook.workbook.kit.stored import stored
from scripts.assets import style_adapters
from scripts.assets import style_sums as script

SUMS = stored("many_tasks", "style_sums")


def docstrings(name: str) -> float:
    """The fraction of functions with a docstring, over all seeds."""
    shown, functions = (sum(run[name]["docstrings"][i] for run in SUMS["runs"]) for i in (0, 1))
    return shown / functions


def test_every_seed_has_every_sum():
    names = [script.named(weights) for weights in script.SUMS]
    assert len(SUMS["runs"]) == len(SUMS["seeds"]) and all(list(run) == names for run in SUMS["runs"])


def test_plain_suppresses_docstrings_and_subtracting_it_writes_them():
    base, alone = docstrings("base"), docstrings("+1 docstrings")
    assert docstrings("+1 plain") < 0.05 < base < 0.3 < 0.85 < alone
    assert docstrings("+1 camelCase +1 docstrings") < alone / 2 and docstrings("+1 docstrings +1 plain") < alone / 2
    assert docstrings("+1 camelCase +1 docstrings -1 plain") == pytest.approx(alone, abs=0.1)
    assert docstrings("+1 camelCase -1 plain") == pytest.approx(base, abs=0.1)
    assert docstrings("-1 plain") > 0.85  # the control: it brings docstrings without any other adapter


def test_the_base_s_counts_are_those_of_the_style_adapters():
    base = stored("many_tasks", "style_adapters")["models"]["pocket"]["base"]
    assert [run["base"] for run in SUMS["runs"]] == [run["counts"] for run in base]


def test_the_plain_style_leaves_source_as_it_is():
    source = "def get_name(self):\n    return self.name\n"
    assert script.PLAIN.rewrite(source) == source and script.CAMEL_CASE.rewrite(source) != source


@pytest.mark.slow
def test_an_update_is_that_of_today_s_code(monkeypatch):
    """A few steps: the update has the shape of the weights it is added to, and the rank of the adapter."""
    monkeypatch.setitem(style_adapters.STEPS, "pocket", 2)
    found = script.update(script.PLAIN, SUMS["lr"], seed=0)
    assert len(found) == 16
    assert all(int(torch.linalg.matrix_rank(delta)) <= style_adapters.R and delta.any() for delta in found.values())
