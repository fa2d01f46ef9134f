"""The exercises' solutions against loralib, SciPy, Transformers and PEFT; other answers."""

from types import SimpleNamespace

import loralib
import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM

from lorabook.workbook.exercises import BY_ROOM
from tests.kit.families import gpt_bigcode, token_ids
from tests.workbook.mistake_bank import load, said

ANSWERS = {exercise.name: load(exercise.solution) for exercise in BY_ROOM["clinic"]}


def random(*shape: int, seed: int = 3, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_lora_update_is_what_loralib_adds():
    layer = loralib.Linear(6, 5, r=3, lora_alpha=7)
    nn.init.normal_(layer.lora_B)
    x = random(4, 6)
    added = layer(x) - F.linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(ANSWERS["lora_update"](x, layer.lora_A, layer.lora_B, 7), added)


def test_merge_head_gives_the_unmerged_logits_after_a_reload_too(tmp_path):
    model, ids = gpt_bigcode(), token_ids()
    width, vocabulary = model.config.n_embd, model.config.vocab_size
    A, B = random(2, width), random(vocabulary, 2, seed=4)
    model.requires_grad_(False)
    before = model.transformer.wte.weight.clone()
    with torch.no_grad():
        hidden = model.transformer(ids).last_hidden_state
        unmerged = model(ids).logits + 0.25 * hidden @ A.T @ B.T
    ends = SimpleNamespace(embedding=model.transformer.wte, head=model.lm_head, config=model.config)
    ANSWERS["merge_head"](ends, A, B, 0.25)
    model.save_pretrained(tmp_path)
    for merged in (model, AutoModelForCausalLM.from_pretrained(tmp_path)):
        torch.testing.assert_close(merged(ids).logits, unmerged, atol=1e-5, rtol=1e-5)
        assert torch.equal(merged.transformer.wte.weight, before)
        assert merged.config.tie_word_embeddings is False


def test_frozen_base_trains_and_passes_on_what_peft_s_layer_does():
    base = nn.Linear(6, 5)
    theirs = get_peft_model(nn.Sequential(base), LoraConfig(r=2, lora_alpha=2, target_modules=["0"])).base_model.model[
        0
    ]
    mine = ANSWERS["frozen_base"](nn.Linear(6, 5), 2)
    mine.base.load_state_dict(base.state_dict())
    with torch.no_grad():
        for ours, other in ((mine.A, theirs.lora_A["default"].weight), (mine.B, theirs.lora_B["default"].weight)):
            other.normal_()
            ours.copy_(other)
    gradients = []
    for layer in (mine, theirs):
        x = random(4, 6).requires_grad_()
        layer(x).square().sum().backward()
        trained = sum(p.numel() for p in layer.parameters() if p.grad is not None)
        gradients.append((x.grad, trained))
    torch.testing.assert_close(gradients[0][0], gradients[1][0])
    assert gradients[0][1] == gradients[1][1] == 2 * (6 + 5)


# Right answers in other words


class UntiedFirst:
    """An embedding with a tensor of its own, then the merge into what was shared."""

    def __call__(self, model, A, B, scaling):
        W0 = model.head.weight
        model.embedding.weight = nn.Parameter(W0.detach().clone(), requires_grad=False)
        W0.data = (W0.float() + scaling * torch.mm(B, A)).to(W0.dtype)
        model.config.tie_word_embeddings = False


class Functional(nn.Module):
    """Frozen by taking the parameters out of the optimizer's sight, one by one."""

    def __init__(self, base, r):
        super().__init__()
        self.base, self.B = base, nn.Parameter(base.weight.new_zeros(base.out_features, r))
        self.A = nn.Parameter(nn.init.kaiming_uniform_(base.weight.new_empty(r, base.in_features)))
        for p in base.parameters():
            p.requires_grad = False

    def forward(self, x):
        return F.linear(x, self.base.weight + self.B @ self.A, self.base.bias)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("lora_update", lambda x, A, B, alpha: F.linear(F.linear(x, A), B) * alpha / B.shape[1]),
        ("merge_head", UntiedFirst()),
        ("frozen_base", Functional),
    ],
)
def test_a_right_answer_passes_however_it_is_written(name, answer, capsys):
    assert said(capsys, name, answer).startswith("✓")


@pytest.mark.parametrize(
    ("name", "answer", "line"),
    [
        (
            "lora_update",
            lambda x, A, B, alpha: x @ A.T,
            "for r = 1 and α = 2 your code gives a tensor of shape (3, 1)",
        ),
        ("merge_head", lambda model, A, B, s: model.head.weight.zero_(), "the head's weight your code gives "),
    ],
)
def test_an_unknown_mistake_is_shown_where_it_fails(name, answer, line, capsys):
    assert line in said(capsys, name, answer)
