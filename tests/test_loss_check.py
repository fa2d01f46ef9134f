"""`AnswerLoss.check`: which models the chunked loss would be wrong for."""

import math

import pytest
import torch
from tiny import MODELS, gpt_bigcode
from transformers import AutoModelForCausalLM, CohereConfig, Gemma2Config

from lorabook.errors import SettingError
from lorabook.loss import AnswerLoss

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
