"""The page "More on memory": its estimates are the library's."""

import re
from dataclasses import replace

import pytest

from lorabook import LoRAConfig
from lorabook.memory.estimate import estimate
from lorabook.memory.plan import Plan
from tests.kit.notebooks import MORE_MEMORY

ROWS = re.findall(
    r"^\| ([\d,]+) tokens \| ([\d.]+) GiB \| ([\d.]+) GiB \|$", MORE_MEMORY.read_text("utf-8"), re.MULTILINE
)


def test_there_are_four_lengths():
    assert [row[0] for row in ROWS] == ["512", "1,024", "2,048", "4,096"]


@pytest.mark.parametrize(("length", "fused", "eager"), ROWS)
def test_the_peaks_are_the_library_s(length, fused, eager):
    plan = Plan(LoRAConfig(r=16, alpha=32), 1, int(length.replace(",", "")), checkpointing=True, model_dropout=0.0)
    peaks = [estimate("bigcode/starcoderbase-1b", p).predicted_peak for p in (plan, replace(plan, attention="eager"))]
    assert [f"{peak / 2**30:.2f}" for peak in peaks] == [fused, eager]
