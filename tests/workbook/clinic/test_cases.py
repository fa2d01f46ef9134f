"""The clinic's stored runs: each broken one gets its fault named, no healthy one any."""

import tempfile
from copy import deepcopy

import pytest
import torch
from peft import PeftModel

from lorabook import LoRAConfig, apply_lora, lora_layers, merge, remove
from lorabook.data import load
from lorabook.data.examples import Example
from lorabook.diagnosis.findings import find_faults
from lorabook.models import load_model
from lorabook.peft_format import adapter_file
from lorabook.workbook.clinic.cases import (
    NUMBERS,
    adapter_without_effect,
    application,
    cases,
    prompts,
    script_collator,
    script_examples,
    stored_cases,
    stored_runs,
)
from lorabook.workbook.clinic.faults import FAULTS

EVERY = [case for runs in stored_cases().values() for case in runs]


@pytest.mark.parametrize("case", EVERY, ids=lambda case: f"{case.name}, seed {case.seed}")
def test_the_fault_is_named_and_the_same_run_without_it_is_sound(case):
    assert [finding.name for finding in find_faults(case.broken)] == [case.name]
    assert find_faults(case.fixed) == []


def test_there_is_a_case_of_every_fault_with_two_seeds():
    assert set(cases()) == set(FAULTS)
    assert min(map(len, stored_cases().values())) >= 2


def test_every_fault_ends_worse_than_the_run_without_it_but_two():
    """What a loss curve can and cannot tell, in these runs."""
    worse = {case.name for case in EVERY if _end(case.broken) > _end(case.fixed) + 0.05}
    assert worse == set(FAULTS) - {"EOS never a label", "adapter on another base"}


def test_the_notebook_s_runs_are_the_cases_of_its_numbers():
    broken, fixed = stored_runs()
    assert set(broken) == set(fixed) == set(NUMBERS)
    for number, name in NUMBERS.items():
        assert broken[number].history == cases()[name].broken.history
        assert fixed[number].history == cases()[name].fixed.history
    assert (broken[9].lr, fixed[9].lr) == (0.05, 0.005)
    scalings = [set(run.record.scalings.values()) for name in NUMBERS.values() for run in both(cases()[name])]
    assert scalings == [{2.0}] * 6
    assert broken[8].passes == 48


def test_the_script_s_labels_begin_after_its_template_which_no_example_of_its_own_contains():
    tokenizer = load_model("pocket", device="cpu").tokenizer
    template = tokenizer("Answer: ").input_ids
    assert script_collator([Example((5, *template, 7, 8), 1, 1)]).labels.tolist() == [7, 8]
    examples = script_examples(load("sample").pairs, tokenizer)
    assert all("\nAnswer: " in tokenizer.decode(example.input_ids) for example in examples)
    assert not len(script_collator(examples).labels)


def test_the_application_of_case_3_does_what_peft_does_to_a_merged_model(tmp_path):
    model = load_model("pocket", device="cpu").model
    apply_lora(model, LoRAConfig(r=2, alpha=4))
    for _, layer in lora_layers(model):
        torch.nn.init.normal_(layer.B, std=0.02)
    folder = adapter_file.save(model, tmp_path, base_name="pocket")
    merged = deepcopy(model)
    merge(merged)
    remove(merged)
    ids = torch.arange(5, 25)[None]
    once, twice = (each(input_ids=ids).logits for each in (merged, application(deepcopy(merged), folder)))
    by_peft = PeftModel.from_pretrained(deepcopy(merged), folder)(input_ids=ids).logits
    torch.testing.assert_close(twice, by_peft, atol=1e-4, rtol=0)
    assert (twice - once).abs().max() > 0.01


def test_peft_warns_of_the_names_of_case_7_and_computes_as_the_base(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = load_model("pocket", device="cpu").model
    apply_lora(model, LoRAConfig(r=2, alpha=4))
    for _, layer in lora_layers(model):
        torch.nn.init.normal_(layer.B, std=0.02)
    with pytest.warns(UserWarning, match="Found missing adapter keys while loading the checkpoint"):
        loaded = PeftModel.from_pretrained(load_model("pocket", device="cpu").model, adapter_without_effect(model))
    ids = torch.arange(5, 25)[None]
    assert torch.equal(loaded(input_ids=ids).logits, load_model("pocket", device="cpu").model(input_ids=ids).logits)


def test_the_prompts_differ_in_the_last_line_break():
    assert prompts == {"training script": "Question: {}\n\nAnswer:\n", "application": "Question: {}\n\nAnswer:"}


def both(case):
    return case.broken, case.fixed


def _end(run) -> float:
    return run.history.held_out[-1][1]
