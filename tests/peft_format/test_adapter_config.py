"""Which modules a config adapts, against PEFT's own reading of it; and what a stranger's config may not hold."""

import json
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from torch import nn
from transformers.pytorch_utils import Conv1D

from lorabook.errors import AdapterError, shown
from lorabook.peft_format import adapter_config
from lorabook.peft_format.adapter_config import (
    CONFIG_LIMIT,
    CONFIG_NAME,
    INACTIVE,
    _in_layers,
    lora_config,
    read_config,
    targeted,
)
from tests.kit.families import MODELS, gpt_bigcode

CHOICES: list[dict[str, Any]] = [
    {"target_modules": ["c_attn", "c_fc"]},
    {"target_modules": ["h.1.mlp.c_fc", "transformer.wte"]},
    {"target_modules": ["attn", "_fc", "fc"]},  # parts of names, which select nothing
    {"target_modules": r".*\.(c_attn|q_proj)"},
    {"target_modules": r"transformer\.h\.[01]\.mlp\..*"},
    {"target_modules": ["c_attn", "q_proj"], "exclude_modules": ["h.0.attn.c_attn", "layers.1.self_attn.q_proj"]},
    {"target_modules": ["c_attn", "q_proj", "wte"], "exclude_modules": r".*\.0\..*"},
    {"target_modules": ["c_fc", "v_proj", "wte"], "layers_to_transform": 1},
    {"target_modules": ["c_fc", "v_proj"], "layers_to_transform": [0, 1]},
    {"target_modules": ["c_fc", "v_proj"], "layers_to_transform": []},
    {"target_modules": ["c_fc", "v_proj"], "layers_to_transform": [0], "layers_pattern": "h"},
    {"target_modules": ["c_fc", "v_proj"], "layers_to_transform": [1], "layers_pattern": ["layers", "blocks"]},
    {"target_modules": ["c_fc", "transformer.h.0.attn.c_attn"], "layers_to_transform": [1]},
]


@pytest.mark.parametrize("choice", CHOICES, ids=json.dumps)
@pytest.mark.parametrize("kind", MODELS)
def test_a_config_selects_what_peft_selects(kind, choice):
    model = MODELS[kind]()
    names = [n for n, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Embedding, Conv1D))]
    config = LoraConfig(**choice)
    answers = {n: type(check_target_module_exists(config, n)).__name__ for n in names if _yes(config, n)}
    assert targeted(model, choice) == answers.keys() and set(answers.values()) <= {"bool", "Match"}


def _yes(config: LoraConfig, name: str) -> bool:
    """PEFT answers True, False, None, a match, or an object that means "excluded" and may be true."""
    answer = check_target_module_exists(config, name)
    return bool(answer) and "Excluded" not in type(answer).__name__


def test_all_linear_is_every_linear_layer_but_the_head():
    names = targeted(gpt_bigcode(), {"target_modules": "all-linear"})
    assert len(names) == 8 and {n.rsplit(".", 1)[-1] for n in names} == {"c_attn", "c_proj", "c_fc"}


@pytest.mark.seconds
def test_a_pattern_that_never_ends_is_given_up_on(monkeypatch):
    monkeypatch.setattr(adapter_config, "PATTERN_SECONDS", 0.5)
    with pytest.raises(AdapterError, match="takes for ever"):
        targeted(gpt_bigcode(), {"target_modules": r"(?:.*\.)?(a|[a-z._0-9]|.|\w)*?[!?]"})
    for pattern in ("(", "[z-a]", "(?P<a"):
        with pytest.raises(AdapterError, match="no pattern"):
            targeted(gpt_bigcode(), {"target_modules": pattern})


# Reading


def written(folder: Path, text: str | None = None, **changes: Any) -> Path:
    """A folder with a config as PEFT writes it, or with another text."""
    LoraConfig(r=4, lora_alpha=8, target_modules=["c_fc"]).save_pretrained(folder)
    path = folder / CONFIG_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes) if text is None else text)
    return folder


def test_what_peft_writes_today_holds_no_unknown_option(tmp_path):
    stored = read_config(written(tmp_path))
    assert stored.keys() <= INACTIVE.keys() | adapter_config.READ.keys() | adapter_config.IGNORED
    assert lora_config(stored, ("c_fc",)).scaling == 2


@pytest.mark.parametrize("option", sorted(INACTIVE.keys() - {"init_lora_weights"}))
def test_an_option_that_is_switched_on_is_refused_by_name(option, tmp_path):
    for active in (True, 1, ["a"], {"a": 1}):
        with pytest.raises(AdapterError, match=option):
            read_config(written(tmp_path, **{option: active}))
    for silent in INACTIVE[option]:
        read_config(written(tmp_path, **{option: silent}))


def test_what_is_left_out_is_as_in_peft():
    stored = {"r": 4, "lora_alpha": 8, "target_modules": ["c_fc"]}
    config, theirs = lora_config(stored, ("c_fc",)), LoraConfig(**stored)
    assert (config.dropout, config.rslora, config.alpha) == (theirs.lora_dropout, theirs.use_rslora, theirs.lora_alpha)


@pytest.mark.parametrize("value", [True, 3, "fast", ["a"], {"a": None}, 0.5])
def test_an_option_from_the_future_is_refused_by_name_once_it_says_something(value, tmp_path):
    with pytest.raises(AdapterError, match=r"'use_future' to .*does not know"):
        read_config(written(tmp_path, use_future=value))
    for silent in (None, False, "", [], {}):
        read_config(written(tmp_path, use_future=silent))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target_modules": None}, "target_modules is None"),
        ({"target_modules": []}, "target_modules is"),
        ({"target_modules": ["c_fc", 1]}, "target_modules is"),
        ({"exclude_modules": 1}, "exclude_modules is 1"),
        ({"layers_to_transform": ["1"]}, "layers_to_transform is"),
        ({"layers_to_transform": True}, "layers_to_transform is True"),
        ({"use_rslora": "false"}, "use_rslora is 'false'"),
        ({"base_model_name_or_path": ["a"]}, "base_model_name_or_path is"),
        ({"base_model_name_or_path": "a\x1b[2J"}, r"base_model_name_or_path is 'a\\x1b\[2J'"),
        ({"base_model_name_or_path": "a" * 501}, "base_model_name_or_path is"),
        ({"ensure_weight_tying": True}, "ensure_weight_tying"),
        ({"lora_alpha": 10**400}, "alpha is 1000.* float32 cannot hold"),
        ({"lora_alpha": 1e300}, r"alpha is 1e\+300.* float32 cannot hold"),
        ({"lora_alpha": float("nan")}, "alpha is nan"),
        ({"r": 4.0}, "r is 4.0"),
    ],
)
def test_values_of_the_wrong_kind_are_refused_by_name(changes, words, tmp_path):
    with pytest.raises(AdapterError, match=words):
        lora_config(read_config(written(tmp_path, **changes)), ("c_fc",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "cannot be read.*RecursionError"),
        ('{"r": 8, "r": 4}', "'r' stands in it 2 times"),
        ('{"a": "' + "x" * CONFIG_LIMIT + '"}', "more than any config"),
        ("\ufeff{}", "cannot be read"),
        ('["LORA"]', r"describes \['LORA'\]"),
        ("null", "describes None"),
        ("", "cannot be read"),
    ],
    ids=lambda text: text[:12],
)
def test_a_config_that_is_none_is_refused(text, words, tmp_path):
    with pytest.raises(AdapterError, match=words):
        read_config(written(tmp_path, text))


def test_a_value_is_shown_short_and_without_control_characters():
    assert shown(["lm_head"]) == "['lm_head']"
    nested: list = []
    for _ in range(100_000):
        nested = [nested]
    for hostile in ("\x1b[2J" * 1000, nested, 10**4000, {"\x00": ["x" * 9999] * 9999}, "a\u202eb"):
        text = shown(hostile)
        assert len(text) < 1500 and text.isprintable()


def test_a_layers_number_has_two_names_before_it_as_peft_wants():
    """PEFT looks for `.*\\.[^.]*\\.(\\d+)\\.` where no pattern is given."""
    stored = {"layers_to_transform": [0]}
    assert _in_layers("transformer.h.0.attn.c_attn", stored) and not _in_layers("h.0.attn.c_attn", stored)
    assert _in_layers("h.0.attn.c_attn", stored | {"layers_pattern": "h"})
