"""LoRAConfig: values out of their range, the scaling, and the modules that have an r or alpha of their own."""

import math

import pytest
from torch import nn

from lorabook.errors import SettingError
from lorabook.lora import LoRAConfig, LoRALinear, apply_lora, lora_layers
from tests.kit.families import gpt_bigcode
from tests.kit.untouched import assert_untouched, snapshot

OUT_OF_RANGE = {
    "r": [0, -1, True, 1.5, "8"],
    "alpha": [0, -1, math.nan, math.inf, "16", True],
    "dropout": [1.0, -0.1, math.nan, "0.1"],
    "targets": [(), ("",), 3, None],
}


@pytest.mark.parametrize(("name", "value"), [(name, v) for name, values in OUT_OF_RANGE.items() for v in values])
def test_settings_out_of_range_are_refused_with_their_value(name, value):
    with pytest.raises(SettingError, match=name) as refusal:
        LoRAConfig(**{name: value})
    assert repr(value) in refusal.value.problem and refusal.value.advice


@pytest.mark.parametrize(
    "settings",
    [
        *(
            {"alpha": 10**400},
            {"alpha": 10**5000},
            {"alpha": 1e308, "r": 1},
            {"alpha": 1e40},
            {"alpha": 1e-45, "r": 16},
        ),
        *({"r": 10**400}, {"r": 2**16 + 1}),
    ],
    ids=range(7),
)
def test_numbers_beyond_reason_are_refused(settings):
    with pytest.raises(SettingError, match=r"^(alpha|The rank r) is") as refusal:
        LoRAConfig(**settings)
    assert len(str(refusal.value)) < 300
    assert LoRAConfig(r=1, alpha=3e38).scaling == 3e38


def test_a_rank_above_both_sides_of_a_large_layer_is_refused():
    """And is taken for a small one, as in PEFT: one r serves all layers of a model."""
    small, large = nn.Linear(4, 5), nn.Linear(4, 2000)
    assert LoRALinear(small, LoRAConfig(r=64)).A.shape == (64, 4)
    assert LoRALinear(large, LoRAConfig(r=2000)).A.shape == (2000, 4)
    for layer, r in ((small, 1025), (large, 2001), (large, 2**16)):
        model = nn.ModuleDict({"fine": nn.Linear(4, 4), "large": layer})
        before = snapshot(model)
        with pytest.raises(SettingError, match=f"rank r is {r:,}") as refusal:
            apply_lora(model, LoRAConfig(r=r, targets=("large",)))
        assert "at most 4" in refusal.value.advice
        assert_untouched(model, before)


@pytest.mark.parametrize("pattern", ["rank_pattern", "alpha_pattern"])
@pytest.mark.parametrize(
    ("value", "words"),
    [({"c_fc": 0}, "is 0"), ({"c_fc": "8"}, "is '8'"), ({"(": 8}, r"'\('.*no regular"), ([("c_fc", 8)], "is \\[")],
)
def test_a_pattern_is_looked_at_as_r_and_alpha_are(pattern, value, words):
    with pytest.raises(SettingError, match=words):
        LoRAConfig(**{pattern: value})


def test_a_pattern_gives_some_modules_their_own_rank_and_alpha():
    model = gpt_bigcode()
    config = LoRAConfig(r=4, alpha=8, rank_pattern={"c_attn": 2, r"h\.1\..*": 3}, alpha_pattern={"h.0.mlp.c_fc": 6})
    report = apply_lora(model, config)
    seen = {n.removeprefix("transformer.h."): (m.r, m.alpha, m.scaling) for n, m in lora_layers(model)}
    assert seen == {
        "0.attn.c_attn": (2, 8, 4),
        "0.attn.c_proj": (4, 8, 2),
        "0.mlp.c_fc": (4, 6, 1.5),
        "0.mlp.c_proj": (4, 8, 2),
        "1.attn.c_attn": (2, 8, 4),
        "1.attn.c_proj": (3, 8, 8 / 3),
        "1.mlp.c_fc": (3, 8, 8 / 3),
        "1.mlp.c_proj": (3, 8, 8 / 3),
    }
    assert report.trainable == sum(m.r * sum(m.shape) for _, m in lora_layers(model))
    assert hash(config) == hash(LoRAConfig(r=4, alpha=8)) and config != LoRAConfig(r=4, alpha=8)


def test_what_is_not_given_is_as_documented():
    """Everyone's saved commands lean on these."""
    config = LoRAConfig()
    assert (config.r, config.alpha, config.scaling) == (16, 32, 2.0)
    assert (config.dropout, config.targets, config.rslora, config.seed) == (0.0, ("all-linear",), False, 0)


def test_scaling():
    assert LoRAConfig(r=16, alpha=8).scaling == 0.5
    assert LoRAConfig(r=16, alpha=8, rslora=True).scaling == 2.0
    assert LoRAConfig(targets="c_fc").targets == ("c_fc",)
