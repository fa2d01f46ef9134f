"""Adapters exchanged with PEFT where names, heads, ranks or the model are out of the ordinary."""

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.other import get_pattern_key
from safetensors.torch import load_file, save_file
from torch import nn

from lorabook import adapters
from lorabook.errors import AdapterError, SettingError
from lorabook.lora import LoRAConfig, apply_lora, lora_layers
from lorabook.merging import merge, unmerge
from lorabook.peft_format.adapter_config import CONFIG_NAME, lora_config
from lorabook.peft_format.adapter_file import WEIGHTS_NAME, load, read_tensors, save
from scripts.checks import families_table as families
from tests.kit.adapters import adapted, fill_adapter
from tests.kit.families import MODELS, gpt_bigcode, logits
from tests.kit.untouched import assert_untouched, snapshot

# Names


class Tree(nn.Module):
    """Layers called "0" and "2", blocks called "0" and "2" too, and a name that ends another."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(6, 6)
        blocks = (nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)) for _ in range(3))
        self.blocks = nn.Sequential(*blocks)
        self.wrapped = nn.ModuleDict({"fc": nn.Linear(6, 6)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.wrapped["fc"](self.blocks(self.fc(x)))


@pytest.mark.parametrize(
    ("targets", "written"),
    [
        (("0",), ["blocks.0.0", "blocks.1.0", "blocks.2.0"]),
        (("2",), ["blocks.0.2", "blocks.1.2", "blocks.2.2"]),
        (("0.0", "1.2"), ["blocks.0.0", "blocks.1.2"]),
        (("fc",), ["fc"]),
        (("wrapped.fc",), ["wrapped.fc"]),
        (("all-linear",), None),
    ],
)
def test_names_are_written_so_that_they_select_nothing_else(targets, written, tmp_path):
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    model = adapted(Tree(), LoRAConfig(r=2, alpha=4, targets=targets))
    save(model, tmp_path)
    stored = json.loads((tmp_path / CONFIG_NAME).read_text())["target_modules"]
    assert written is None or stored == written
    theirs, again = PeftModel.from_pretrained(Tree(), tmp_path), Tree()
    load(again, tmp_path)
    for other in (theirs, again):
        torch.testing.assert_close(other(x), model(x))


def test_a_name_that_ends_another_is_written_as_a_pattern(tmp_path):
    model, x = Tree(), torch.randn(3, 6)
    apply_lora(model, LoRAConfig(r=2, targets=("fc",)))
    fill_adapter(model)
    model.wrapped["fc"] = model.wrapped["fc"].base_layer  # the adapted `fc` alone
    save(model, tmp_path)
    assert json.loads((tmp_path / CONFIG_NAME).read_text())["target_modules"] == "fc"
    theirs, again = PeftModel.from_pretrained(Tree(), tmp_path), Tree()
    load(again, tmp_path)
    assert [name for name, _ in lora_layers(again)] == ["fc"]
    for other in (theirs, again):
        torch.testing.assert_close(other(x), model(x))


# Heads with a bias


@pytest.mark.parametrize("family", ["phi", "gptj", "codegen", "ctrl"])
def test_a_head_with_a_bias_travels_both_ways(family, tmp_path):
    targets = families.ends(families.build(family))
    theirs = families.theirs(family, targets)
    theirs.save_pretrained(tmp_path / "theirs")
    key = "base_model.model.lm_head.base_layer.bias"
    tensors = load_file(tmp_path / "theirs" / WEIGHTS_NAME)
    assert key in tensors, "PEFT adds it no longer"
    model = families.build(family)
    load(model, tmp_path / "theirs")
    torch.testing.assert_close(families.logits(model), families.logits(theirs), rtol=0, atol=1e-5)
    save(model, tmp_path / "ours")
    again = PeftModel.from_pretrained(families.build(family), tmp_path / "ours")
    torch.testing.assert_close(families.logits(again), families.logits(theirs), rtol=0, atol=1e-5)
    tensors[key][3] += 0.01
    save_file(tensors, tmp_path / "theirs" / WEIGHTS_NAME)
    other = families.build(family)
    before = snapshot(other)
    with pytest.raises(AdapterError, match="another base bias for lm_head"):
        load(other, tmp_path / "theirs")
    assert_untouched(other, before)


# Ranks and alphas of their own

PATTERNS = [
    ({"c_fc": 2, "q_proj": 2}, {}),
    ({}, {"c_fc": 3, "q_proj": 3.5}),
    ({r".*\.1\..*": 3, "c_fc": 2, "q_proj": 2}, {"layers.0.self_attn.q_proj": 1, "h.0.mlp.c_fc": 1}),
    ({"^transformer.h.1.mlp.c_fc": 6, "fc": 7, "proj": 7, "up_proj": 5}, {"c_.*": 5, "(q|k)_proj": 7}),
    ({"c_fc|q_proj": 2, "mlp.c_fc": 9}, {"h": 9, "nothing": 9}),
]


@pytest.mark.seconds
@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("patterns", PATTERNS, ids=str)
@pytest.mark.parametrize("kind", MODELS)
def test_patterns_of_rank_and_alpha_travel_both_ways(kind, patterns, rslora, tmp_path):
    ranks, alphas = patterns
    shared = {"r": 4, "rank_pattern": ranks, "alpha_pattern": alphas}
    peft_model = get_peft_model(
        MODELS[kind](),
        LoraConfig(
            lora_alpha=8, target_modules="all-linear", use_rslora=rslora, fan_in_fan_out=kind == "GPT-2", **shared
        ),
    ).eval()
    families.fill([p for name, p in peft_model.named_parameters() if ".lora_" in name])
    peft_model.save_pretrained(tmp_path / "theirs")
    model = MODELS[kind]()
    load(model, tmp_path / "theirs")
    torch.testing.assert_close(logits(model), logits(peft_model), rtol=0, atol=1e-5)

    ours = MODELS[kind]()
    apply_lora(ours, LoRAConfig(alpha=8, rslora=rslora, **shared))
    assert [(n, m.r, m.scaling) for n, m in lora_layers(ours)] == [(n, m.r, m.scaling) for n, m in lora_layers(model)]
    assert len({m.r for _, m in lora_layers(ours)} | {m.scaling for _, m in lora_layers(ours)}) > 1
    fill_adapter(ours)
    save(ours, tmp_path / "ours")
    theirs, again = PeftModel.from_pretrained(MODELS[kind](), tmp_path / "ours"), MODELS[kind]()
    load(again, tmp_path / "ours")
    for other in (theirs, again):
        torch.testing.assert_close(logits(other), logits(ours), rtol=0, atol=1e-5)
    save(again, tmp_path / "again")
    assert (tmp_path / "again" / CONFIG_NAME).read_text() == (tmp_path / "ours" / CONFIG_NAME).read_text()


KEYS = [
    *("fc", "c_fc", "mlp.c_fc", "^c_fc", "^h.0.mlp.c_fc", ".*fc", "h.*", r"h\.\d", "h.1", "0.mlp", ""),
    "c_fc$",
    "a|c_fc",
]


@pytest.mark.parametrize("keys", [*([key] for key in KEYS), KEYS, KEYS[::-1]], ids=str)
def test_a_key_matches_as_in_peft(keys):
    names = ("c_fc", "h.0.mlp.c_fc", "h.1.mlp.c_fc", "mlp.fc", "h.1", "ah.1", "x.h.0.mlp")
    pattern = {key: i + 1 for i, key in enumerate(keys)}
    config = LoRAConfig(r=99, rank_pattern=pattern)
    read = lora_config({"r": 99, "lora_alpha": 1, "rank_pattern": pattern}, names)
    for name in names:
        expected = pattern.get(get_pattern_key(pattern.keys(), name), 99)
        assert config.for_module(name).r == read.for_module(name).r == expected, name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rank_pattern": {"c_fc": 8}}, r"c_fc: the adapter's A is \(4, .* r = 8"),
        ({"rank_pattern": {"c_fc": 0}}, "r is 0"),
        ({"rank_pattern": {"c_fc": None}}, "r is None"),
        ({"rank_pattern": 8}, "rank_pattern is 8"),
        ({"rank_pattern": {"(": 8}}, r"'\('\]?, which is no pattern"),
        ({"alpha_pattern": {"c_fc": "8"}}, "alpha is '8'"),
        ({"alpha_pattern": {"c_fc": 1e300}}, "float32"),
        ({"alpha_pattern": ["c_fc"]}, "alpha_pattern is"),
        ({"alpha_pattern": {r"(a|[a-z._0-9]|.)*?[!?]": 8}}, "takes for ever"),
    ],
    ids=str,
)
@pytest.mark.seconds
def test_a_pattern_that_cannot_be_is_refused(change, words, tmp_path, monkeypatch):
    monkeypatch.setattr("lorabook.peft_format.adapter_config.PATTERN_SECONDS", 1.0)
    save(adapted(gpt_bigcode(), LoRAConfig(r=4)), tmp_path)
    path = tmp_path / CONFIG_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    model = gpt_bigcode()
    before = snapshot(model)
    with pytest.raises(AdapterError, match=words):
        load(model, tmp_path)
    assert_untouched(model, before)


# A compiled model, and a base that is no longer what it was


def contents(folder: Path) -> tuple:
    tensors, header = read_tensors(folder / WEIGHTS_NAME)
    return (folder / CONFIG_NAME).read_text(), header, {name: t.tolist() for name, t in tensors.items()}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_compiled_model_is_saved_under_the_names_of_the_model(when, tmp_path):
    model = gpt_bigcode()
    compiled = torch.compile(model, backend="eager") if when == "before" else None
    apply_lora(model if compiled is None else compiled, LoRAConfig(r=4, alpha=8, targets=("c_attn", "c_fc", "wte")))
    compiled = torch.compile(model, backend="eager") if compiled is None else compiled
    fill_adapter(compiled)
    assert contents(save(compiled, tmp_path / "compiled")) == contents(save(model, tmp_path / "plain"))
    theirs = PeftModel.from_pretrained(gpt_bigcode(), tmp_path / "compiled")
    torch.testing.assert_close(logits(theirs), logits(model), rtol=0, atol=1e-5)
    again = gpt_bigcode()
    load(torch.compile(again, backend="eager"), tmp_path / "compiled")
    assert torch.equal(logits(again), logits(model))


def test_a_compiled_block_is_saved_under_its_own_name(tmp_path):
    model = adapted(gpt_bigcode(), LoRAConfig(r=4, alpha=8))
    plain = contents(save(model, tmp_path / "plain"))
    model.transformer.h[1] = torch.compile(model.transformer.h[1], backend="eager")
    assert contents(save(model, tmp_path / "compiled")) == plain


def test_an_adapter_beside_a_trained_norm_is_not_saved(tmp_path):
    model = adapted(gpt_bigcode(), LoRAConfig(r=4, alpha=8))
    norms = [p for name, p in model.named_parameters() if "ln_" in name]
    for p in norms:
        p.requires_grad_(True)
    save(model, tmp_path / "unchanged")
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    ids = families.token_ids()
    model(ids, labels=ids).loss.backward()
    optimizer.step()
    with pytest.raises(SettingError, match=rf"ln_.* has changed since.*in all: {len(norms)} parameters") as refusal:
        save(model, tmp_path / "changed")
    assert "save the whole model" in refusal.value.advice and not (tmp_path / "changed").exists()


def test_one_adapted_weight_that_moved_is_found(tmp_path):
    model = adapted(gpt_bigcode(), LoRAConfig(r=4, targets=("c_fc",)))
    with torch.no_grad():
        model.transformer.h[1].mlp.c_fc.base_layer.weight.add_(1e-3)
    with pytest.raises(SettingError, match=r"^transformer\.h\.1\.mlp\.c_fc\.weight has changed"):
        save(model, tmp_path)


def test_what_leaves_a_base_as_it_is_keeps_an_adapter_saveable(tmp_path):
    for cast in (torch.float16, torch.bfloat16, torch.float64):
        model = adapted(gpt_bigcode(), LoRAConfig(r=4, targets=("c_attn", "wte")))
        merge(model)
        unmerge(model)
        save(model.to(cast), tmp_path)
    adapters.add(model := gpt_bigcode(), "first", LoRAConfig(r=2, targets=("c_fc",)))
    adapters.add(model, "second", LoRAConfig(r=2, targets=("c_attn",)))
    adapters.activate(model, "first")
    save(model, tmp_path)
    with torch.no_grad():
        model.transformer.ln_f.weight.mul_(2)
    adapters.add(model, "third", LoRAConfig(r=2, targets=("c_fc",)))
    with pytest.raises(SettingError, match=r"ln_f\.weight has changed"):
        save(model, tmp_path)
    adapters.activate(model, "third")
    save(model, tmp_path)
