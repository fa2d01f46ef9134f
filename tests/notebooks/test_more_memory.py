"""The page "More on memory": its estimates are the library's."""

import re
from dataclasses import replace

import pytest

from lorabook import LoRAConfig
from lorabook.memory.dry_run import dry_run
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


@pytest.mark.seconds
def test_with_checkpointing_a_token_takes_more_than_the_estimate_by_hand():
    """190 KiB by the dry run rather than 24 × 4 + 65, so that for 65,536 tokens the sum by hand is 14% low."""
    lora, kib = LoRAConfig(r=16, alpha=32), 1024
    small, large = (
        dry_run("bigcode/starcoderbase-1b", Plan(lora, batch, 512, checkpointing=True)).peak for batch in (4, 128)
    )
    assert 185 < (large - small) / (124 * 512) / kib < 195
    trained, frozen = 11_108_352, 1_137_207_296
    by_hand = 12 * trained + 2 * frozen + 65_536 * (24 * 4 + 65) * kib
    assert round(100 * (1 - by_hand / large)) == 14


def test_dropout_keeps_a_fifth_of_a_gib():
    plan = Plan(LoRAConfig(r=16, alpha=32), 4, 512)
    with_it, without = (
        estimate("bigcode/starcoderbase-1b", each).predicted_peak for each in (plan, replace(plan, model_dropout=0.0))
    )
    assert f"{(with_it - without) / 2**30:.1f}" == "0.2"
