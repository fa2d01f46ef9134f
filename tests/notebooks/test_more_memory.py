"""The page "More on memory": its estimates are the library's, and a block keeps what autograd saves."""

import re
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import GPTBigCodeConfig
from transformers.models.gpt_bigcode.modeling_gpt_bigcode import GPTBigCodeBlock

from lorabook import LoRAConfig, apply_lora
from lorabook.memory.dry_run import dry_run
from lorabook.memory.estimate import estimate
from lorabook.memory.families import shape_of
from lorabook.memory.plan import Plan
from tests.kit.notebooks import MORE_MEMORY, NOTEBOOKS, cells, table

MEMORY, STARCODER = NOTEBOOKS[2], "bigcode/starcoderbase-1b"

ROWS = re.findall(
    r"^\| ([\d,]+) tokens \| ([\d.]+) GiB \| ([\d.]+) GiB \|$", MORE_MEMORY.read_text("utf-8"), re.MULTILINE
)

TOKENS = 100  # no weight has a dimension of 100


def starcoder_block():
    sizes = GPTBigCodeConfig(n_embd=2048, n_head=16, n_inner=8192, attn_implementation="sdpa")
    return GPTBigCodeBlock(sizes, layer_idx=0).eval()


def kept(block) -> Counter:
    """How many tensors the block keeps of each size, as (values per token, bytes), without statistics and A x."""
    seen = {}

    def collect(tensor):
        if TOKENS in tensor.shape:
            seen[tensor.data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(collect, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        block(torch.randn(1, TOKENS, 2048, requires_grad=True))
    sizes = Counter((tensor.numel() // TOKENS, tensor.itemsize) for tensor in seen.values())
    return Counter({size: number for size, number in sizes.items() if size[0] > 16})


def kept_by_the_page() -> list[tuple[Counter, float]]:
    """The rows of the table: the tensors of each, and its KiB."""
    found = []
    for _, sizes, kib in table(MORE_MEMORY, "What a block keeps"):
        values, size = sizes.split(" × ")
        each = [int(value.replace(",", "")) for value in values.strip("()").split(" + ")]
        found.append((Counter((value, int(size)) for value in each), float(kib)))
    return found


def test_the_rows_are_the_tensors_of_a_trained_block_and_add_up():
    found = kept_by_the_page()
    assert len(found) == 4
    for tensors, kib in found:
        assert sum(values * size * number for (values, size), number in tensors.items()) == kib * 1024
    assert sum(kib for _, kib in found) == 64.5
    assert sum((tensors for tensors, _ in found), Counter()) == kept(starcoder_block())


def test_the_notebook_says_the_same():
    (text,) = [cell["source"] for cell in cells(MEMORY) if "inputs of the two norms" in cell["source"]]
    rows = [row.strip("| *").replace("*", "").split(" | ") for row in re.findall(r"^\|.*\|$", text, re.MULTILINE)[2:]]
    trained, frozen, lora = ([int(row[i].replace("–", "0").replace(",", "")) for row in rows] for i in (1, 2, 3))
    page = [sum(values * number for (values, _), number in tensors.items()) for tensors, _ in kept_by_the_page()]
    linear, norms, attention, activation = page
    assert lora == trained == [2 * 2048, linear - 2 * 2048, norms, attention, activation, sum(page)]
    assert frozen == [0, 0, norms, attention, activation, sum(page) - linear]
    assert sum(page) == 28_928 and sum("23 * 2_048 + 28_928" in cell["source"] for cell in cells(MEMORY)) == 1
    assert 2 * (sum(page) - norms) + 4 * norms == 1024 * sum(kib for _, kib in kept_by_the_page())


def test_freezing_leaves_out_the_first_row():
    _, *others = [tensors for tensors, _ in kept_by_the_page()]
    assert kept(starcoder_block().requires_grad_(False)) == sum(others, Counter())


@pytest.mark.seconds
@pytest.mark.parametrize("r", [1, 16])
def test_lora_keeps_the_inputs_of_the_layers_it_adapts(r):
    block, on_one = starcoder_block(), starcoder_block()
    apply_lora(block, LoRAConfig(r=r, alpha=32))
    apply_lora(on_one, LoRAConfig(r=r, alpha=32, targets=("c_attn",)))
    first, *others = [tensors for tensors, _ in kept_by_the_page()]
    assert kept(block) == first + sum(others, Counter())
    assert kept(on_one) == sum(others, Counter({(2048, 2): 1}))


@pytest.mark.seconds
def test_the_peak_is_the_larger_of_two_sums():
    totals = {row[0]: row[1:] for row in table(MORE_MEMORY, "The peak, more precisely")}
    forward, step = (
        [int(row[i].strip("*").replace("–", "0")) for row in totals.values() if row[i][0] in "–0123456789"]
        for i in (0, 1)
    )
    assert [forward, step] == [[4, 8, 0, 2, 0], [4, 8, 4, 0, 4]]
    assert totals["**total**"] == [f"**{sum(forward)}**", f"**{sum(step)}**"]
    N, A_and_B, activations = 1_137_207_296, 11_108_352, 2048 * 24 * 65 * 1024
    lora = LoRAConfig(r=16, alpha=32)
    for trained, frozen, method, hand, dry in ((N, 0, 1.0, 21.18, 21.24), (A_and_B, N, lora, 5.31, 5.63)):
        found = 2 * frozen + max(sum(forward) * trained + activations, sum(step) * trained)
        assert round(found / 2**30, 2) == hand
        assert round(dry_run(STARCODER, Plan(method, batch=4, sequence=512)).peak / 2**30, 2) == dry


@pytest.mark.seconds
def test_the_stages_of_full_fine_tuning_are_those_of_the_dry_run():
    alive, parameters = dry_run(STARCODER, Plan(batch=4)).timeline, shape_of(STARCODER).parameters
    start, forward, backward = alive["forward"][0], alive["forward"][-1], alive["backward"][-1]
    activations = forward - start - 2 * parameters  # beside the 16-bit copies
    rows = table(MORE_MEMORY, "The stages of full fine-tuning")
    totals = start, forward, backward, max(alive["optimizer"])
    assert [row[4] for row in rows] == [f"{total / 2**30:.1f} GiB" for total in totals]
    assert [row[3] for row in rows] == ["–", f"{activations / 2**30:.1f} GiB", "–", "–"]


def test_there_are_four_lengths():
    assert [row[0] for row in ROWS] == ["512", "1,024", "2,048", "4,096"]


@pytest.mark.parametrize(("length", "fused", "eager"), ROWS)
def test_the_peaks_are_the_library_s(length, fused, eager):
    plan = Plan(LoRAConfig(r=16, alpha=32), 1, int(length.replace(",", "")), checkpointing=True, model_dropout=0.0)
    peaks = [estimate(STARCODER, p).predicted_peak for p in (plan, replace(plan, attention="eager"))]
    assert [f"{peak / 2**30:.2f}" for peak in peaks] == [fused, eager]


@pytest.mark.seconds
def test_with_checkpointing_a_token_takes_more_than_the_estimate_by_hand():
    """190 KiB by the dry run rather than 24 × 4 + 65, so that for 65,536 tokens the sum by hand is 14% low."""
    lora, kib = LoRAConfig(r=16, alpha=32), 1024
    small, large = (dry_run(STARCODER, Plan(lora, batch, 512, checkpointing=True)).peak for batch in (4, 128))
    assert 185 < (large - small) / (124 * 512) / kib < 195
    trained, frozen = 11_108_352, 1_137_207_296
    by_hand = 12 * trained + 2 * frozen + 65_536 * (24 * 4 + 65) * kib
    assert round(100 * (1 - by_hand / large)) == 14


def test_dropout_keeps_a_fifth_of_a_gib():
    plan = Plan(LoRAConfig(r=16, alpha=32), 4, 512)
    with_it, without = (estimate(STARCODER, each).predicted_peak for each in (plan, replace(plan, model_dropout=0.0)))
    assert f"{(with_it - without) / 2**30:.1f}" == "0.2"
