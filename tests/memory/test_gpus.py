"""Which GPUs have room, and the largest batch, against a search through every batch."""

from dataclasses import replace

import pytest

from lorabook.errors import SettingError
from lorabook.lora import LoRAConfig, apply_lora
from lorabook.memory.dry_run import dry_run
from lorabook.memory.estimate import estimate
from lorabook.memory.gpus import GPUS, fits, largest_batch, tight
from lorabook.memory.plan import Plan
from lorabook.training.shard import blocks_of
from tests.kit.families import gpt_bigcode

LORA = LoRAConfig(r=16)


@pytest.mark.parametrize("labels", [None, 64])
def test_the_largest_batch_is_the_last_that_fits(labels):
    plan = Plan(LORA, 4, 128, labels=labels)

    def peak(batch: int) -> int:
        return estimate("pocket", replace(plan, batch=batch, labels=labels and labels * batch // 4)).predicted_peak

    for room in (peak(1) - 1, peak(1), peak(5), peak(6) - 1, peak(64) + 1, 2**29):
        brute = max((batch for batch in range(1, 200) if peak(batch) <= room), default=0)
        assert largest_batch("pocket", plan, room) == brute


def test_what_each_gpu_holds_of_shards():
    """A part of every parameter, and whole what FSDP gathers: what is outside of blocks, and two blocks."""
    model = gpt_bigcode()
    apply_lora(model, LoRAConfig(r=4, targets=("all-linear", "wte")))
    total = sum(p.nbytes for p in model.parameters())
    blocks = [sum(p.nbytes for p in block.parameters()) for block in blocks_of(model)]
    plan = Plan(LoRAConfig(r=4, targets=("all-linear", "wte")), 2, 16, "fp32", gpus=4, shard=True)
    parts = estimate(model.config, plan)
    alone = estimate(model.config, replace(plan, gpus=1, shard=False))
    assert 4 * (parts.components["frozen weights"] + parts.components["trainable weights"]) == total
    assert parts.components["gathered weights"] == total - sum(blocks) + 2 * max(blocks)
    for name in ("gradients", "optimizer state"):
        assert 4 * parts.components[name] == alone.components[name]
    for name in ("buffers", "activations", "logits and loss"):
        assert parts.components[name] == alone.components[name]
    work = [each.moments["loss"] - each.static + each.components["gradients"] for each in (alone, parts)]
    assert work[0] == work[1] > 0
    full = [estimate(model.config, Plan(1.0, 2, 16, "fp32", gpus=n, shard=n > 1)) for n in (1, 2, 4)]
    assert [each.components["optimizer state"] for each in full] == [8 * full[0].parameters // n for n in (1, 2, 4)]


def test_copies_on_several_gpus_cost_the_buckets_of_ddp():
    plan = Plan(LORA, 2, 64)
    alone, copies = (estimate("pocket", replace(plan, gpus=n)) for n in (1, 8))
    assert copies.predicted_peak == alone.predicted_peak + alone.components["gradients"]
    assert copies.components == alone.components | {"buckets of DDP": alone.components["gradients"]}


def test_shards_of_one_gpu_or_of_4_bits_are_refused():
    for settings, problem in (({"gpus": 1}, "one GPU only"), ({"gpus": 2, "weights": "nf4"}, "4 bits")):
        with pytest.raises(SettingError, match=problem):
            Plan(LORA, **settings, shard=True)
    with pytest.raises(SettingError, match="dry run is of one GPU"):
        dry_run("pocket", Plan(LORA, gpus=2))


def test_gpus_with_room():
    assert GPUS["T4"] == 14.75 * 2**30
    larger = [gpu for gpu in GPUS if gpu not in ("T4", "RTX 3060")]
    assert fits(0) == list(GPUS) and fits(GPUS["T4"] - 2**30) == ["T4", *larger] and fits(2**40) == []
    for peak in (GPUS["T4"] - 2**30 + 1, GPUS["T4"]):  # less than 1 GiB to spare
        assert fits(peak) == larger and tight(peak) == ["T4"]
    assert fits(GPUS["T4"] + 1) == larger and tight(GPUS["T4"] + 1) == []
    assert largest_batch("bigcode/starcoderbase-1b", Plan(1.0), GPUS["T4"]) == 0
    with pytest.raises(SettingError, match="gpu_bytes is 0"):
        largest_batch("pocket", Plan(LORA, 1, 8), 0)
