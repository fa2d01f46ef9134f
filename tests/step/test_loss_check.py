"""`AnswerLoss.check`: which models the chunked loss would be wrong for."""

import math

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    XLMConfig,
    XLNetConfig,
)

from lorabook.errors import SettingError
from lorabook.step.loss import AnswerLoss
from tests.kit.families import MODELS, gpt_bigcode

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
CHANGED = {
    "scaled": CohereConfig(**{k: v for k, v in SIZES.items() if k != "head_dim"}, logit_scale=0.25),
    "capped": Gemma2Config(**SIZES, final_logit_softcapping=0.5),
}


@pytest.mark.parametrize("kind", CHANGED)
def test_check_refuses_a_model_that_changes_its_logits(kind):
    model = AutoModelForCausalLM.from_config(CHANGED[kind]).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(20)
    with pytest.raises(SettingError, match="changes its logits"):
        AnswerLoss(model).check()


AHEAD = {
    "Gemma 3 with attention both ways": Gemma3TextConfig(**SIZES, use_bidirectional_attention=True),
    "XLNet": XLNetConfig(vocab_size=64, d_model=32, n_layer=1, n_head=4, d_inner=48),
    "XLM": XLMConfig(vocab_size=64, emb_dim=32, n_layers=1, n_heads=4, max_position_embeddings=64),
}


@pytest.mark.parametrize("kind", AHEAD)
def test_check_refuses_a_model_that_looks_ahead(kind):
    """It would find every answer in its own text: such a Gemma 3 learned random tokens to 0.007 nats."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AHEAD[kind]).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.2)
    with pytest.raises(SettingError, match=r"looks ahead|changes its logits"):
        AnswerLoss(model).check()
    causal = AutoModelForCausalLM.from_config(Gemma3TextConfig(**SIZES)).eval()
    AnswerLoss(causal).check()


def test_the_loss_asks_for_no_cache():
    """Keys and values of every layer would be kept for tokens that nobody generates."""
    model, asked = gpt_bigcode(), []
    model.base_model.register_forward_pre_hook(lambda _, args, kwargs: asked.append(kwargs), with_kwargs=True)
    AnswerLoss(model)(torch.arange(6)[None], torch.tensor([3, 4]), torch.tensor([4, 5]))
    assert asked == [{"input_ids": asked[0]["input_ids"], "use_cache": False}]


@pytest.mark.parametrize("name", MODELS)
def test_check_passes_every_plain_model_and_leaves_its_mode(name):
    dropout = {"attention_dropout": 0.5} if name == "Llama" else {"resid_pdrop": 0.5}
    model = MODELS[name](**dropout).train()
    AnswerLoss(model).check()
    assert model.training


@pytest.mark.parametrize("harmless", ["NaN", "rounded"])
def test_check_passes_logits_that_are_not_numbers_or_rounded_once_more(harmless, monkeypatch):
    """A broken weight is for the loop to find, by its name; a kernel may round the logits where another does not."""
    model = gpt_bigcode()
    if harmless == "NaN":
        model.transformer.wte.weight.data[2, 3] = math.nan
    else:
        forward = model.lm_head.forward
        calls = iter([torch.bfloat16, torch.float32])
        monkeypatch.setattr(model.lm_head, "forward", lambda h: forward(h).to(next(calls)))
    AnswerLoss(model).check()
