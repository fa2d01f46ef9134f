"""LoRA layers and `apply_lora` held against loralib and PEFT: the same numbers in, the same numbers out."""

import loralib
import pytest
import torch
from torch import Tensor, nn
from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM
from transformers.pytorch_utils import Conv1D

from lorabook.lora import LoRAConfig, LoRAEmbedding, LoRALayer, LoRALinear, apply_lora, count_parameters, lora_layers
from tests.kit.adapters import fill_adapter
from tests.kit.families import MODELS, gradients, logits, token_ids
from tests.kit.oracles import copy_factors, peft_factors, with_peft

STARCODER = ("c_attn", "c_proj", "c_fc", "wte", "wpe")
TARGETS = [
    ("GPTBigCode", ("c_attn",)),
    ("GPTBigCode", STARCODER),
    ("GPTBigCode", ("all-linear",)),
    ("GPT-2", STARCODER),
    ("GPT-2", ("all-linear",)),
    ("Llama", ("q_proj", "v_proj", "embed_tokens")),
    ("Llama", ("self_attn.o_proj", "lm_head")),
    ("Llama", ("all-linear",)),
]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def copy_to_loralib(ours: LoRALayer, theirs: nn.Module) -> None:
    ours.base_layer.load_state_dict({n: p for n, p in theirs.state_dict().items() if not n.startswith("lora")})
    for mine, other in ((ours.A, theirs.lora_A), (ours.B, theirs.lora_B)):
        mine.copy_(0.3 * random(*mine.shape))
        other.copy_(mine)


@pytest.mark.parametrize("transposed", [False, True], ids=["Linear", "Conv1D"])
def test_linear_equals_loralib(transposed):
    theirs = loralib.Linear(12, 20, r=3, lora_alpha=5, fan_in_fan_out=transposed, merge_weights=False)
    ours = LoRALinear(Conv1D(20, 12) if transposed else nn.Linear(12, 20), LoRAConfig(r=3, alpha=5))
    copy_to_loralib(ours, theirs)
    x, y = random(2, 7, 12).requires_grad_(), random(2, 7, 12).requires_grad_()
    torch.testing.assert_close(ours(x), theirs(y))
    ours(x).pow(2).sum().backward()
    theirs(y).pow(2).sum().backward()
    for mine, other in ((ours.A, theirs.lora_A), (ours.B, theirs.lora_B), (x, y)):
        torch.testing.assert_close(mine.grad, other.grad)


@pytest.mark.parametrize("padding", [None, 4])
def test_embedding_equals_loralib(padding):
    theirs = loralib.Embedding(11, 6, r=3, lora_alpha=5, padding_idx=padding, merge_weights=False)
    ours = LoRAEmbedding(nn.Embedding(11, 6, padding_idx=padding), LoRAConfig(r=3, alpha=5))
    copy_to_loralib(ours, theirs)
    tokens = torch.tensor([[1, 4, 4, 10], [0, 2, 2, 2]])
    torch.testing.assert_close(ours(tokens), theirs(tokens))
    ours(tokens).pow(2).sum().backward()
    theirs(tokens).pow(2).sum().backward()
    torch.testing.assert_close(ours.A.grad, theirs.lora_A.grad)
    torch.testing.assert_close(ours.B.grad, theirs.lora_B.grad)


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize(("kind", "targets"), TARGETS)
def test_model_equals_peft(kind, targets, rslora):
    model, ids = MODELS[kind](), token_ids()
    config = LoRAConfig(r=4, alpha=6, targets=targets, rslora=rslora)
    peft_model = with_peft(model, config)
    report = apply_lora(model, config)
    fill_adapter(model)
    copy_factors(model, peft_model)
    assert (report.trainable, report.total) == count_parameters(model) == peft_model.get_nb_trainable_parameters()
    torch.testing.assert_close(logits(model, ids), logits(peft_model, ids), rtol=0, atol=1e-5)
    ours, theirs = gradients(model, ids), gradients(peft_model, ids)
    assert len(ours) == len(theirs) == 2 * len(report.modules)
    for name, _ in lora_layers(model):
        for factor, other in zip("AB", peft_factors(peft_model, name), strict=True):
            torch.testing.assert_close(ours[f"{name}.{factor}"], other.grad, rtol=0, atol=1e-5)


def test_counts_of_starcoderbase_1b():
    sizes = {"vocab_size": 49152, "n_positions": 8192, "n_embd": 2048, "n_layer": 24, "n_head": 16, "n_inner": 8192}
    with torch.device("meta"):
        model = GPTBigCodeForCausalLM(GPTBigCodeConfig(**sizes))
    report = apply_lora(model, LoRAConfig(r=16, alpha=8, dropout=0.1, targets=STARCODER))
    assert (report.trainable, report.total) == (12_091_392, 1_149_298_688)
    assert len(report.modules) == 4 * 24 + 2 and sum(m.parameters for m in report.modules) == report.trainable
    assert (report.modules[0].name, report.modules[0].shape) == ("transformer.wte", (2048, 49152))
    assert str(report).endswith("trainable parameters: 12,091,392 of 1,149,298,688 (1.0521%)")


def test_embedding_with_a_scale_equals_peft():
    """Gemma 3 multiplies its embeddings; the update is part of the embedding, so it is multiplied too."""
    gemma = pytest.importorskip("transformers.models.gemma3.modeling_gemma3")
    model = nn.Sequential(gemma.Gemma3TextScaledWordEmbedding(11, 6, padding_idx=0, embed_scale=2.5))
    config = LoRAConfig(r=3, alpha=5, targets=("0",))
    peft_model = with_peft(model, config)
    apply_lora(model, config)
    fill_adapter(model)
    copy_factors(model, peft_model)
    torch.testing.assert_close(model(torch.arange(11)), peft_model(torch.arange(11)))
