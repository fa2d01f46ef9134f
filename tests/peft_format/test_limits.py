"""Adapters that PEFT would load as something else: refused, and PEFT itself shows why."""

from pathlib import Path

import peft
import pytest
import torch
from packaging.version import Version
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.transformers_weight_conversion import _MODEL_TO_CONVERSION_PATTERN, _MOE_TARGET_MODULE_MAPPING
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CONFIG_MAPPING
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

from lorabook.errors import AdapterError, SettingError
from lorabook.lora import LoRAConfig, matched
from lorabook.lora_config import ALL_LINEAR
from lorabook.peft_format import adapter_file
from lorabook.peft_format.adapter_file import WEIGHTS_NAME, load, save
from lorabook.peft_format.limits import EXPERTS
from scripts.checks import families_table as families
from tests.kit.adapters import adapted

EXPERT_FAMILIES = ["deepseek_v2", "deepseek_v3", "dots1", "ernie4_5_moe", "glm4_moe", "qwen3_moe", "qwen3_next"]
# Family, and targets of which PEFT loses some
LOST = [
    *((family, ("gate_proj", "up_proj", "down_proj")) for family in EXPERT_FAMILIES),
    ("glm4_moe", ("all-linear",)),
    ("jamba", ("dt_proj",)),
    ("jamba", ("all-linear",)),
    ("falcon_mamba", ("dt_proj",)),
    ("mamba", ("x_proj", "dt_proj")),
]


def in_peft(family: str, folder: Path) -> torch.Tensor:
    return families.logits(PeftModel.from_pretrained(families.build(family), folder))


@pytest.mark.parametrize(("family", "targets"), LOST)
@pytest.mark.seconds
def test_what_peft_would_lose_is_not_saved(family, targets, tmp_path, monkeypatch):
    model = adapted(families.build(family), LoRAConfig(r=4, alpha=8, targets=targets))
    with pytest.raises(SettingError, match="PEFT would lose the update of") as refusal:
        save(model, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    assert "out of targets, or call merge(model)" in refusal.value.advice
    monkeypatch.setattr(adapter_file, "lost_in_peft", lambda *_: {})
    save(model, tmp_path / "lost")
    assert (in_peft(family, tmp_path / "lost") - families.logits(model)).abs().max() > 1e-3, "PEFT has learned: save it"


@pytest.mark.parametrize("family", [*EXPERT_FAMILIES, "jamba", "mamba", "falcon_mamba", "mamba2", "falcon_h1"])
def test_what_the_refusal_leaves_over_travels_both_ways(family, tmp_path):
    """Without the parts that the advice names, the same family is exchanged."""
    with pytest.raises(SettingError) as refusal:
        save(adapted(families.build(family), LoRAConfig(r=4)), tmp_path)
    left_out = refusal.value.advice.removeprefix("Leave ").split(" out of targets")[0].split(", ")
    plain = families.build(family)
    parts = {name.rsplit(".", 1)[-1] for name in matched(plain, (ALL_LINEAR,))} - set(left_out)
    assert parts
    model = adapted(families.build(family), LoRAConfig(r=4, alpha=8, targets=tuple(parts)))
    expected = families.logits(model)
    assert (expected - families.logits(plain)).abs().max() > 1e-3
    save(model, tmp_path / "ours")
    torch.testing.assert_close(in_peft(family, tmp_path / "ours"), expected, rtol=0, atol=1e-5)
    theirs = families.theirs(family, tuple(parts))
    theirs.save_pretrained(tmp_path / "theirs")
    load(plain, tmp_path / "theirs")
    torch.testing.assert_close(families.logits(plain), families.logits(theirs), rtol=0, atol=1e-5)


def test_every_name_that_peft_takes_for_experts_is_known():
    """PEFT's `convert_peft_config_for_transformers`, for every model type that transformers knows."""
    ours = {kind: set(parts) for parts, kinds in EXPERTS.items() for kind in kinds}
    for kind, like in _MODEL_TO_CONVERSION_PATTERN.items():
        names = _MOE_TARGET_MODULE_MAPPING.get(like)
        if names and kind in CONFIG_MAPPING and get_checkpoint_conversion_mapping(kind) is not None:
            assert ours.get(kind) == set(names), kind


def test_an_update_that_peft_leaves_out_is_not_loaded_unless_it_is_zero(tmp_path):
    theirs = families.theirs("jamba", ("dt_proj", "q_proj"))
    theirs.save_pretrained(tmp_path)
    with pytest.raises(AdapterError, match=r"In PEFT the update of .*dt_proj is left out"):
        load(families.build("jamba"), tmp_path)
    tensors = load_file(tmp_path / WEIGHTS_NAME)
    for name in tensors:  # as PEFT trains it: B has no gradient there
        if "dt_proj.lora_B" in name:
            tensors[name].zero_()
    save_file(tensors, tmp_path / WEIGHTS_NAME)
    model = families.build("jamba")
    load(model, tmp_path)
    torch.testing.assert_close(families.logits(model), families.logits(theirs), rtol=0, atol=1e-5)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(6, 6)
        self.encoder = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True)
        self.again = self.first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.again(self.encoder(self.first(x)))


@pytest.mark.parametrize("target", ["first", "encoder.self_attn.out_proj", "encoder.linear1", "encoder.linear2"])
@torch.no_grad()
def test_layers_of_torch_and_layers_in_two_places(target, tmp_path, monkeypatch):
    model, x = adapted(Twice().eval(), LoRAConfig(r=2, alpha=4, targets=(target,))), torch.randn(2, 3, 6)
    with pytest.raises(SettingError, match=f"PEFT would lose the update of {target}"):
        save(model, tmp_path)
    monkeypatch.setattr(adapter_file, "lost_in_peft", lambda *_: {})
    save(model, tmp_path)
    theirs = PeftModel.from_pretrained(Twice().eval(), tmp_path)
    assert (theirs(x) - model(x)).abs().max() > 1e-3, "PEFT has learned: save it"
    with pytest.raises(AdapterError, match=f"In PEFT the update of {target} is left out"):
        load(Twice().eval(), tmp_path)


@pytest.mark.skipif(Version(peft.__version__) < Version("0.21"), reason="PEFT then wrote the layer under both names")
def test_a_layer_inside_a_block_in_two_places_travels(tmp_path):
    """PEFT replaces it in the block, wherever the block stands."""

    class Blocks(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
            self.again = self.first

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.again(self.first(x))

    model, x = adapted(Blocks(), LoRAConfig(r=2, targets=("all-linear",))), torch.randn(3, 6)
    save(model, tmp_path)
    theirs = PeftModel.from_pretrained(Blocks(), tmp_path)
    torch.testing.assert_close(theirs(x), model(x))
    peft_model = get_peft_model(Blocks(), LoraConfig(r=2, target_modules=["0"]))
    families.fill([p for n, p in peft_model.named_parameters() if ".lora_" in n])
    peft_model.save_pretrained(tmp_path / "theirs")
    again = Blocks()
    load(again, tmp_path / "theirs")
    torch.testing.assert_close(again(x), peft_model(x))
