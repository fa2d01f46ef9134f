"""The clinic's stored runs: each broken one gets its fault named, no healthy one any."""

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
from lorabook.workbook.clinic.cases import cases, stored_cases
from lorabook.workbook.clinic.faults import FAULTS, label_after_a_template, load_adapter

IDS = torch.arange(5, 25)[None]
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


def test_labels_begin_after_the_template_which_no_example_of_a_whole_text_contains():
    tokenizer = load_model("pocket", device="cpu").tokenizer
    template = tokenizer("Answer: ").input_ids
    assert label_after_a_template([Example((5, *template, 7, 8), 1, 1)]).labels.tolist() == [7, 8]
    texts = [f"Question: {pair.title}\nAnswer: {pair.answer}" for pair in load("sample").pairs]
    examples = [Example(tuple(tokenizer(text).input_ids), 1, i) for i, text in enumerate(texts)]
    assert not len(label_after_a_template(examples).labels)


def test_peft_adds_the_update_of_a_merged_model_again_too(tmp_path):
    """What case 3 says of PEFT, and that the fault `load_adapter` does the same."""
    model = trained_a_little()
    folder = adapter_file.save(model, tmp_path, base_name="pocket")
    merged, twice = deepcopy(model), load_model("pocket", device="cpu").model
    merge(merged)
    remove(merged)
    with torch.no_grad():
        for name, layer in lora_layers(model):
            twice.get_submodule(name).weight += 2 * layer.delta()
    expected = twice(input_ids=IDS).logits
    by_peft = PeftModel.from_pretrained(deepcopy(merged), folder)(input_ids=IDS).logits
    torch.testing.assert_close(by_peft, expected, atol=1e-4, rtol=0)
    assert (merged(input_ids=IDS).logits - expected).abs().max() > 0.01
    load_adapter(merged, folder)
    torch.testing.assert_close(merged(input_ids=IDS).logits, expected, atol=1e-4, rtol=0)


def _end(run) -> float:
    return run.history.held_out[-1][1]


def trained_a_little() -> torch.nn.Module:
    """The pocket model with LoRA whose B is not zero."""
    model = load_model("pocket", device="cpu").model
    apply_lora(model, LoRAConfig(r=2, alpha=4))
    for _, layer in lora_layers(model):
        torch.nn.init.normal_(layer.B, std=0.02)
    return model
