"""What vLLM is told about an adapter: its own limits on ranks, and the options it refuses."""

import json

import pytest
from peft import LoraConfig

from lorabook.lora import LoRAConfig
from lorabook.peft_format.limits import check_vllm_compatible
from tests.kit.families import gpt_bigcode
from tests.kit.oracles import peft_config


def plain(r: int) -> LoRAConfig:
    return LoRAConfig(r=r, targets=("c_attn", "c_proj", "c_fc"))


@pytest.mark.parametrize("r", [1, 4, 16])
def test_a_plain_adapter_of_a_small_rank_is_served_as_it_is(r):
    assert check_vllm_compatible(plain(r)) == check_vllm_compatible(LoRAConfig(r=r)) == []


@pytest.mark.parametrize(("r", "flag"), [(17, 32), (32, 32), (65, 128), (257, 320), (321, 512), (512, 512)])
def test_a_higher_rank_needs_the_next_limit_that_vllm_knows(r, flag):
    (finding,) = check_vllm_compatible(plain(r))
    assert f"r is {r}" in finding and f"--max-lora-rank {flag} " in finding


@pytest.mark.parametrize("pattern", ["rank_pattern", "alpha_pattern"])
def test_modules_with_a_rank_or_alpha_of_their_own_are_told(pattern):
    for config in (LoRAConfig(r=4, **{pattern: {"c_fc": 2}}), {"r": 4, pattern: {"c_fc": 2}}):
        (finding,) = check_vllm_compatible(config)
        assert "of their own" in finding and "merge it" in finding


def test_a_config_without_a_rank_has_pefts_own():
    config = {"target_modules": ["c_attn"]}
    assert check_vllm_compatible(config) == check_vllm_compatible(config | {"r": LoraConfig().r}) == []


def test_a_rank_beyond_every_limit_has_to_be_merged():
    (finding,) = check_vllm_compatible(plain(513))
    assert "r is 513" in finding and "512 at most" in finding and "lorabook merge" in finding


def test_embeddings_are_found_by_name():
    positions, tokens = check_vllm_compatible(LoRAConfig(targets=("c_attn", "transformer.wpe", "wte")))
    assert "wpe" in positions and "wte" in tokens and "merge" in positions and "merge" in tokens
    assert "embed_tokens and lm_head" in check_vllm_compatible(LoRAConfig(targets=("lm_head", "embed_tokens")))[0]


@pytest.mark.parametrize("change", [{"modules_to_save": ["lm_head"]}, {"use_dora": True}, {"bias": "all"}])
def test_the_config_of_any_adapter_can_be_checked(change, tmp_path):
    peft_config(gpt_bigcode(), plain(8)).save_pretrained(tmp_path / "plain")
    LoraConfig(r=8, target_modules=["c_attn"], **change).save_pretrained(tmp_path / "changed")
    good, bad = (json.loads((tmp_path / name / "adapter_config.json").read_text()) for name in ("plain", "changed"))
    assert check_vllm_compatible(good) == []
    (finding,) = check_vllm_compatible(bad)
    assert next(iter(change)) in finding and "refuses" in finding
