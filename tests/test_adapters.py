"""Many adapters on one base, each held against a model that only ever had that one."""

from copy import deepcopy

import pytest
import torch
from safetensors.torch import load_file

from lorabook.adapters import activate, active, add, deactivate, delete, load, mixed_batch, names
from lorabook.errors import AdapterError, SettingError
from lorabook.lora import LoRAConfig, adapters_of, apply_lora, count_parameters
from lorabook.memory.counter import StorageCounter
from lorabook.merging import merge, remove, unmerge
from lorabook.peft_format import adapter_file
from lorabook.step.optimizer import trained
from lorabook.subspace.training import apply_subspace
from tests.kit.adapters import CONFIGS, alone, both
from tests.kit.families import MODELS, gpt_bigcode, logits, token_ids
from tests.kit.untouched import assert_untouched, snapshot

each_family = pytest.mark.parametrize("kind", MODELS)


# Switching


@each_family
def test_switching_gives_the_model_that_only_ever_had_that_adapter(kind, tmp_path):
    model, base = both(kind), logits(MODELS[kind]())
    for name in ("titles", "code", "titles", None, "code"):
        if name is None:
            deactivate(model)
            assert torch.equal(logits(model), base)
            continue
        activate(model, name)
        lone = alone(kind, name)
        assert active(model) == name and names(model) == ["titles", "code"]
        assert torch.equal(logits(model), logits(lone)) and not torch.equal(logits(model), base)
        assert adapters_of(model).active.config == adapters_of(lone).active.config and count_parameters(
            model
        ) == count_parameters(lone)
        assert model.state_dict().keys() == lone.state_dict().keys()
        assert [n for n, _ in trained(model)] == [n for n, _ in trained(lone)]
        ours, theirs = adapter_file.save(model, tmp_path / "ours"), adapter_file.save(lone, tmp_path / "theirs")
        assert adapter_file.read_config(ours) == adapter_file.read_config(theirs)
        tensors, expected = (load_file(folder / adapter_file.WEIGHTS_NAME) for folder in (ours, theirs))
        assert tensors.keys() == expected.keys() and all(torch.equal(tensors[k], expected[k]) for k in expected)


@each_family
def test_the_base_comes_back_as_the_very_tensors_it_was(kind):
    model = MODELS[kind]().requires_grad_(False)
    before = snapshot(model)
    for name, config in CONFIGS[kind].items():
        add(model, name, config)
        assert_untouched(model, before)
    for name in CONFIGS[kind]:
        activate(model, name)
    with mixed_batch(model, ["titles", "code"]):
        logits(model)
    deactivate(model)
    assert_untouched(model, before)


def test_switching_allocates_nothing():
    model = both()
    held = {id(t): t for t in [*model.parameters(), *model.buffers()]}
    for name in names(model):
        activate(model, name)
        held |= {id(p): p for p in model.parameters()}
    with StorageCounter(held.values()) as counter:
        before = counter.live
        for name in ("titles", "code", "titles"):
            activate(model, name)
            assert all(id(p) in held for p in model.parameters()), "something came back as a copy"
        deactivate(model)
    assert counter.peak == before


def test_adding_and_switching_leave_the_random_state_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    with mixed_batch(both(), ["code"]):
        pass
    assert torch.equal(torch.get_rng_state(), state)


def test_an_adapter_comes_in_with_the_mode_and_the_device_of_the_model():
    model = both().train()
    activate(model, "titles")
    assert {m.training for m in model.modules()} == {True}
    assert not torch.equal(logits(model), logits(model)), "its dropout is off"
    deactivate(model.eval())
    assert {m.training for m in model.modules()} == {False}
    model.train()
    activate(model, "code")
    model.eval()
    activate(model, "titles")
    assert {m.training for m in model.modules()} == {False}
    assert torch.equal(logits(model), logits(alone("GPTBigCode", "titles")))
    activate(model.to("meta"), "code")
    assert {p.device.type for p in model.parameters()} == {"meta"}


def test_a_copy_of_the_model_switches_on_its_own():
    model = both()
    activate(model, "titles")
    twin = deepcopy(model)
    activate(twin, "code")
    assert (active(model), active(twin)) == ("titles", "code")
    assert torch.equal(logits(twin), logits(alone("GPTBigCode", "code")))
    assert torch.equal(logits(model), logits(alone("GPTBigCode", "titles")))
    assert not {id(p) for p in model.parameters()} & {id(p) for p in twin.parameters()}


# Training, saving, merging: only the active one


def test_only_the_active_adapter_trains():
    model, ids = both().train(), token_ids(4)
    activate(model, "titles")
    model(ids, labels=ids).loss.backward()
    activate(model, "code")
    code = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    activate(model, "titles")
    assert all(p.grad is None for p in model.parameters()), "a gradient waited for its adapter's next turn"
    titles = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    for _ in range(2):
        model(ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert not any(torch.equal(model.get_parameter(n), p) for n, p in titles.items())
    activate(model, "code")
    assert all(torch.equal(model.get_parameter(n), p) for n, p in code.items())
    assert [n for n, p in model.named_parameters() if p.requires_grad] == list(code)
    deactivate(model)
    assert torch.equal(logits(model.eval()), logits(gpt_bigcode()))


def test_adding_and_mixing_in_the_midst_of_a_step_lose_no_gradient():
    model, ids = both(), token_ids(2)
    activate(model, "titles")
    model(ids, labels=ids).loss.backward()
    grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    add(model, "prose", LoRAConfig(r=2, targets=("c_fc",)))
    with mixed_batch(model, ["code", "prose"]):
        logits(model)
    assert grads.keys() == {n for n, p in model.named_parameters() if p.grad is not None}
    assert all(torch.equal(model.get_parameter(n).grad, g) for n, g in grads.items())


@each_family
def test_only_the_active_adapter_is_merged(kind):
    model, lone = both(kind), alone(kind, "code")
    activate(model, "code")
    merge(model)
    merge(lone)
    assert torch.equal(logits(model), logits(lone))
    unmerge(model)
    activate(model, "titles")
    assert torch.equal(logits(model), logits(alone(kind, "titles")))


def test_removing_keeps_the_adapters_beside_the_model_while_their_base_is_there():
    model = both()
    activate(model, "code")
    remove(model)
    assert (active(model), names(model)) == (None, ["titles", "code"])
    activate(model, "code")
    merge(model)
    remove(model)  # the weights now are base and code: neither adapter was made for them
    assert (active(model), names(model)) == (None, [])


def test_saved_adapters_are_loaded_under_names(tmp_path):
    for name in ("titles", "code"):
        adapter_file.save(alone("GPTBigCode", name), tmp_path / name)
    model = gpt_bigcode()
    for name in ("titles", "code"):
        report = load(model, name, tmp_path / name)
        assert report.trainable == count_parameters(alone("GPTBigCode", name))[0]
    assert active(model) is None
    for name in ("code", "titles"):
        activate(model, name)
        assert torch.equal(logits(model), logits(alone("GPTBigCode", name)))


def test_deleting():
    model = both()
    activate(model, "titles")
    delete(model, "code")
    assert (active(model), names(model)) == ("titles", ["titles"])
    delete(model, "titles")
    assert (active(model), names(model)) == (None, [])
    assert torch.equal(logits(model), logits(gpt_bigcode()))
    add(model, "titles", CONFIGS["GPTBigCode"]["code"])


# Refusals


def refused(model, action, words: str) -> None:
    before, was = snapshot(model), names(model)
    with pytest.raises((SettingError, AdapterError), match=words) as refusal:
        action(model)
    assert refusal.value.problem and refusal.value.advice
    assert_untouched(model, before)
    assert names(model) == was


def test_an_unknown_name_names_those_that_exist(tmp_path):
    model = both()
    activate(model, "code")
    for action in (activate, delete):
        refused(model, lambda model, action=action: action(model, "prose"), "'prose'.*titles, code")
    refused(model, lambda model: mixed_batch(model, ["code", "prose"]).__enter__(), "'prose'.*titles, code")
    refused(gpt_bigcode(), lambda model: activate(model, "prose"), "'prose'.*add or load")


def test_what_cannot_be_added_leaves_the_active_adapter_active(tmp_path):
    model = both()
    activate(model, "code")
    other = adapter_file.save(alone("Llama", "code"), tmp_path)
    refused(model, lambda model: add(model, "titles", LoRAConfig()), "already has an adapter 'titles'")
    refused(model, lambda model: add(model, "prose", LoRAConfig(targets=("q_proj",))), "'q_proj' matches no")
    refused(model, lambda model: load(model, "prose", other), "no place in this model")
    assert active(model) == "code"


SWITCHES = {
    "activate": lambda model: activate(model, "titles"),
    "deactivate": deactivate,
    "delete": lambda model: delete(model, "code"),
    "add": lambda model: add(model, "prose", LoRAConfig(targets=("c_fc",))),
    "mix": lambda model: mixed_batch(model, ["titles"]).__enter__(),
}


@pytest.mark.parametrize("action", SWITCHES.values(), ids=SWITCHES.keys())
def test_nothing_is_switched_while_an_update_is_merged_or_a_subspace_is_trained(action):
    model = both()
    activate(model, "code")
    merge(model)
    refused(model, action, "merged into the base.*unmerge")
    unmerge(model)
    apply_subspace(model, d=10)
    refused(model, action, "subspace.*remove_subspace")


@pytest.mark.parametrize("action", SWITCHES.values(), ids=SWITCHES.keys())
def test_layers_without_a_name_are_not_written_over(action):
    model = both()
    apply_lora(model, LoRAConfig(r=2, targets=("c_attn",)))
    refused(model, action, "without a name.*remove")


def test_a_module_that_was_replaced_is_not_written_over():
    model = both()
    model.transformer.h[1].attn.c_attn = torch.nn.Sequential(model.transformer.h[1].attn.c_attn)
    for name in ("activate", "mix"):
        refused(model, SWITCHES[name], r"h\.1\.attn\.c_attn is now a Sequential")
