"""The page "More on low-rank updates": its table is the stored result, and its code prints what the page says."""

import re

from lorabook.workbook.low_rank.recovery import recoveries
from tests.kit.notebooks import MORE_LOW_RANK, table

WAYS = {
    "first r terms": "truncated",
    "ΔW scaled down": "scaled",
    "random entries": "random",
    "all but the first r terms": "rest",
}


def test_the_controls_are_the_stored_ones():
    found = [recoveries(model) for model in ("pocket", "smollm2")]
    assert table(MORE_LOW_RANK, "More controls") == [
        [name, *(f"{curves[way][r]:.0%}" for curves in found for r in (1, 4, 16, 64))] for name, way in WAYS.items()
    ]


def test_the_gradient_has_a_low_rank_and_adam_s_step_has_not(capsys):
    page = MORE_LOW_RANK.read_text("utf-8")
    ((code, printed),) = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", page, re.DOTALL)
    exec(compile(code, MORE_LOW_RANK.name, "exec"), {})
    assert capsys.readouterr().out == printed
