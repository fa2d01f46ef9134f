"""The exercises' solutions against PEFT, a saved file and a search over all choices."""

import itertools
import struct

import numpy as np
import pytest
import torch
from torch import nn
from transformers import T5Config, T5EncoderModel

from lorabook.lora import LoRAConfig, apply_lora
from lorabook.peft_format import adapter_file
from lorabook.workbook.exercises import BY_ROOM
from lorabook.workbook.rank_and_alpha.exercises import T5
from tests.kit.families import gpt_bigcode
from tests.kit.oracles import with_peft
from tests.workbook.mistake_bank import load, said

ANSWERS = {exercise.name: load(exercise.solution) for exercise in BY_ROOM["rank_and_alpha"]}
KINDS = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")


def trained(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_spread_budget_is_the_best_of_all_choices():
    """The most kinds, of such sets the cheapest, and of its ranks the highest."""
    numbers = np.random.default_rng(0)
    for _ in range(50):
        sums = numbers.permutation(60)[:4] + 20  # no two kinds cost the same
        shapes = {f"kind {s}": (int(s // n), int(s - s // n)) for s, n in zip(sums, (2, 3, 5, 9))}
        budget = int(numbers.integers(240, 4_000))
        within = []
        for names in itertools.chain.from_iterable(itertools.combinations(shapes, n) for n in (1, 2, 3, 4)):
            cost, pairs = 3 * sum(sum(shapes[name]) for name in names), [shapes[name] for name in names]
            ranks = [r for r in range(1, 40) if r * cost <= budget and all(r * d + r * k <= d * k for d, k in pairs)]
            within += [(len(names), -cost, r, sorted(names)) for r in ranks]
        _, _, r, names = max(within)
        targets, rank = ANSWERS["spread_budget"](shapes, 3, budget)
        assert (sorted(targets), rank) == (names, r)


@pytest.mark.parametrize(("budget", "kinds"), [(2_784, 4), (600, 2)])  # of 2,784 nothing is left
def test_spread_budget_counts_as_peft_does(budget, kinds):
    block = gpt_bigcode().transformer.h[0]
    shapes = {name: tuple(block.get_submodule(name).weight.shape) for name in KINDS}
    targets, r = ANSWERS["spread_budget"](shapes, 2, budget)
    assert len(targets) == kinds
    spent = [trained(with_peft(gpt_bigcode(), LoRAConfig(r=n, targets=tuple(targets)))) for n in (r, r + 1)]
    assert spent[0] <= budget < spent[1]


def test_adapter_bytes_are_those_of_the_file(tmp_path):
    model = gpt_bigcode().half()
    report = apply_lora(model, LoRAConfig(r=3, targets=("c_attn", "c_proj", "wte")))
    file = adapter_file.save(model, tmp_path) / adapter_file.WEIGHTS_NAME
    (header,) = struct.unpack("<Q", file.read_bytes()[:8])  # the format: its header's length, the header, the tensors
    shapes = [module.shape for module in report.modules]
    assert ANSWERS["adapter_bytes"](shapes, 3, torch.float32, torch.float16) == file.stat().st_size - 8 - header


@pytest.mark.parametrize("rslora", [False, True])
def test_same_effect_is_rank_times_peft_s_scaling(rslora):
    def scaling(r, alpha):
        model = with_peft(nn.Sequential(nn.Linear(4, 4)), LoRAConfig(r=r, alpha=alpha, targets=("0",), rslora=rslora))
        return model.base_model.model[0].scaling["default"]

    for alpha, r, new_r in ((8, 16, 32), (3, 4, 7), (32, 8, 1)):
        new_alpha = ANSWERS["same_effect"](alpha, r, new_r, rslora)
        assert new_r * scaling(new_r, new_alpha) == pytest.approx(r * scaling(r, alpha))


@pytest.mark.parametrize(
    "targets",
    [("c_proj",), ("attn.c_proj", "c_proj"), ("c_attn", "c_proj", "c_fc", "wte", "wpe"), ("h.1.mlp.c_fc", "lm_head")],
)
def test_count_targets_is_what_peft_adapts(targets):
    model = gpt_bigcode(tie_word_embeddings=False)
    modules = {n: tuple(m.weight.shape) for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    modules |= {n: tuple(m.weight.T.shape) for n, m in model.named_modules() if isinstance(m, nn.Embedding)}
    theirs = with_peft(model, LoRAConfig(r=3, targets=targets))
    assert ANSWERS["count_targets"](modules, targets, 3) == (len(theirs.targeted_module_names), trained(theirs))


def test_the_tree_of_t5_is_the_real_one_and_peft_reads_it_so():
    with torch.device("meta"):
        model = T5EncoderModel(T5Config())  # its defaults are t5-small's sizes
    real = {}
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Embedding)) and name != "encoder.embed_tokens":  # `shared`, once more
            rows, columns = module.weight.shape
            real[name] = (rows, columns) if isinstance(module, nn.Linear) else (columns, rows)
    assert real == T5
    theirs = with_peft(model, LoRAConfig(r=3, targets=("o",)))
    assert ANSWERS["count_targets"](real, ("o",), 3) == (len(theirs.targeted_module_names), trained(theirs))


def test_spread_budget_may_count_up_from_rank_1(capsys):
    def answer(shapes, blocks, budget):
        names = {
            n for n in shapes if blocks * sum(sum(s) for s in shapes.values() if sum(s) <= sum(shapes[n])) <= budget
        }
        r = 1
        while (r + 1) * blocks * sum(sum(shapes[n]) for n in names) <= budget and all(
            (r + 1) * sum(shapes[n]) <= shapes[n][0] * shapes[n][1] for n in names
        ):
            r += 1
        return names, r

    assert said(capsys, "spread_budget", answer).startswith("✓")


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("adapter_bytes", "lambda s, r, t, _: sum(torch.empty(r, d + k, dtype=t, device='meta').nbytes for d, k in s)"),
        ("same_effect", "lambda a, r, n, rs: a * r / r ** (0.5 if rs else 1) / n * n ** (0.5 if rs else 1)"),
        ("count_targets", "lambda m, t, r: np.sum([[1, r * sum(s)] for n, s in m.items() if any(('.' + n)"
         ".endswith('.' + x) for x in t)], axis=0).tolist()"),
    ],
)  # fmt: skip
def test_a_right_answer_passes_however_it_is_written(name, source, capsys):
    assert said(capsys, name, eval(source, {"torch": torch, "np": np})).startswith("✓")
