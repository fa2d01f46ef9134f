"""Which GPUs have room, and the largest batch, against a search through every batch."""

from dataclasses import replace

import pytest

from lorabook.errors import SettingError
from lorabook.lora import LoRAConfig
from lorabook.memory.estimate import estimate
from lorabook.memory.gpus import GPUS, fits, largest_batch
from lorabook.memory.plan import Plan

LORA = LoRAConfig(r=16)


@pytest.mark.parametrize("labels", [None, 64])
def test_the_largest_batch_is_the_last_that_fits(labels):
    plan = Plan(LORA, 4, 128, labels=labels)

    def peak(batch: int) -> int:
        return estimate("pocket", replace(plan, batch=batch, labels=labels and labels * batch // 4)).predicted_peak

    for room in (peak(1) - 1, peak(1), peak(5), peak(6) - 1, peak(64) + 1, 2**29):
        brute = max((batch for batch in range(1, 200) if peak(batch) <= room), default=0)
        assert largest_batch("pocket", plan, room) == brute


def test_gpus_with_room():
    assert GPUS["T4"] == 14.75 * 2**30
    assert fits(0) == list(GPUS) and fits(15 * 2**30) == [gpu for gpu in GPUS if gpu not in ("T4", "RTX 3060")]
    assert fits(GPUS["T4"]) == [gpu for gpu in GPUS if gpu != "RTX 3060"] and fits(2**40) == []
    assert largest_batch("bigcode/starcoderbase-1b", Plan(1.0), GPUS["T4"]) == 0
    with pytest.raises(SettingError, match="gpu_bytes is 0"):
        largest_batch("pocket", Plan(LORA, 1, 8), 0)
