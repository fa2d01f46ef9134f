"""The exercises' solutions against PEFT and a search over all choices."""

import itertools

import numpy as np
import pytest
from torch import nn

from lorabook.lora import LoRAConfig
from lorabook.workbook.exercises import BY_ROOM
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


@pytest.mark.parametrize("rslora", [False, True])
def test_same_effect_is_rank_times_peft_s_scaling(rslora):
    def scaling(r, alpha):
        model = with_peft(nn.Sequential(nn.Linear(4, 4)), LoRAConfig(r=r, alpha=alpha, targets=("0",), rslora=rslora))
        return model.base_model.model[0].scaling["default"]

    for alpha, r, new_r in ((8, 16, 32), (3, 4, 7), (32, 8, 1)):
        new_alpha = ANSWERS["same_effect"](alpha, r, new_r, rslora)
        assert new_r * scaling(new_r, new_alpha) == pytest.approx(r * scaling(r, alpha))


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


def test_same_effect_may_be_a_quotient_of_scalings(capsys):
    answer = "lambda a, r, n, rs: a * r / r ** (0.5 if rs else 1) / n * n ** (0.5 if rs else 1)"
    assert said(capsys, "same_effect", eval(answer)).startswith("✓")
