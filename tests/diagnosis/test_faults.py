"""The faulty pieces of code, each held against the library, and what is shown of them."""

from dataclasses import fields

import pytest
import torch

from lorabook import LoRAConfig, apply_lora, data, lora_layers, merge, remove
from lorabook.data.batches import collate
from lorabook.data.examples import Example
from lorabook.diagnosis.findings import CHECKS, find_faults
from lorabook.errors import AdapterError
from lorabook.models import load_model
from lorabook.peft_format import adapter_file
from lorabook.step.config import recommended_lr
from tests.kit.adapters import adapted
from tests.kit.broken_runs import short_run
from tests.kit.broken_runs.faults import FAULTS, label_after_a_template
from tests.kit.broken_runs.user_code import UserCode
from tests.kit.families import gpt_bigcode
from tests.kit.runs import TRAIN

RIGHT = UserCode()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_piece_of_code_and_the_doctor_has_a_check_for_it(name):
    fault = FAULTS[name]
    faulty = fault.code()
    assert [f.name for f in fields(UserCode) if getattr(faulty, f.name) != getattr(RIGHT, f.name)] == [fault.piece]
    assert name in {check for check, _, _ in CHECKS}


def test_right_code_is_the_library_s():
    model, library = gpt_bigcode(), gpt_bigcode()
    settings = {"r": 4, "alpha": 12, "targets": ("all-linear",), "seed": 3}
    RIGHT.apply_lora(model, **settings)
    apply_lora(library, LoRAConfig(**settings))
    for (_, mine), (_, theirs) in zip(lora_layers(model), lora_layers(library), strict=True):
        assert torch.equal(mine.A, theirs.A) and not mine.B.any() and mine.scaling == theirs.scaling == 3
    mine, theirs = RIGHT.collate(TRAIN[:3]), collate(TRAIN[:3])
    assert all(torch.equal(getattr(mine, f.name), getattr(theirs, f.name)) for f in fields(theirs))
    assert RIGHT.lr == recommended_lr(3_900_000)


def test_faulty_settings_and_factors():
    model = gpt_bigcode()
    FAULTS["scaling is not α/r"].code().apply_lora(model, r=4, alpha=12)
    assert {layer.scaling for _, layer in lora_layers(model)} == {12}
    model = gpt_bigcode()
    FAULTS["both factors zero"].code().apply_lora(model, r=4, alpha=12)
    assert not any(layer.A.any() or layer.B.any() for _, layer in lora_layers(model))


def test_faulty_batches():
    right = collate(TRAIN[:5])
    of = {name: FAULTS[name].wrong(TRAIN[:5]) for name in ("labels shifted", "all labels masked", "EOS never a label")}
    assert all(torch.equal(batch.input_ids, right.input_ids) for batch in of.values())
    shifted = of["labels shifted"]
    assert torch.equal(shifted.input_ids.flatten()[shifted.label_positions + 2], shifted.labels)
    assert len(of["all labels masked"].labels) == len(of["all labels masked"].label_positions) == 0
    no_end = of["EOS never a label"]
    assert no_end.labels.tolist() == [label for label in right.labels.tolist() if label]
    assert len(right.labels) - len(no_end.labels) == 5  # every one of these ends in the end token


def test_labels_begin_after_the_template_which_no_example_of_a_whole_text_contains():
    tokenizer = load_model("pocket", device="cpu").tokenizer
    template = tokenizer("Answer: ").input_ids
    assert label_after_a_template([Example((5, *template, 7, 8), 1, 1)]).labels.tolist() == [7, 8]
    texts = [f"Question: {pair.title}\nAnswer: {pair.answer}" for pair in data.load("sample").pairs]
    examples = [Example(tuple(tokenizer(text).input_ids), 1, i) for i, text in enumerate(texts)]
    assert not len(label_after_a_template(examples).labels)


@pytest.mark.parametrize(("piece", "reached"), [(FAULTS["gradient cut off"].wrong, 1), (RIGHT.checkpoint, 2)])
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_a_gradient_passes_a_block_that_recomputes_unless_it_does_so_the_old_way(piece, reached):
    model, plain = (adapted(gpt_bigcode(n_layer=2), LoRAConfig(r=2)).train() for _ in range(2))
    for block in model.base_model.h[:-1]:
        piece(block)
    ids = torch.arange(12)[None]
    loss = [each(ids, labels=ids, use_cache=False).loss for each in (model, plain)]
    assert torch.equal(*loss)
    for each in loss:
        each.backward()
    ours, theirs = (dict(each.named_parameters()) for each in (model, plain))
    got = {name.split(".h.")[1][0] for name, p in ours.items() if p.grad is not None}
    assert len(got) == reached
    assert all(torch.equal(p.grad, theirs[name].grad) for name, p in ours.items() if p.grad is not None)


def test_the_faulty_loader_loads_what_the_right_one_does_and_also_where_that_refuses(tmp_path):
    first = adapted(gpt_bigcode(), LoRAConfig(r=4, alpha=8))
    adapter_file.save(first, tmp_path)
    faulty, right = FAULTS["adapter on another base"].wrong, RIGHT.load
    models = gpt_bigcode(), gpt_bigcode()
    for model, load in zip(models, (faulty, right)):
        load(model, tmp_path)
    ids = torch.arange(12)[None]
    assert torch.equal(models[0](ids).logits, models[1](ids).logits)
    merge(first)
    remove(first)
    with pytest.raises(AdapterError, match="other base weights"):
        right(first, tmp_path)
    faulty(first, tmp_path)
    assert not torch.equal(first(ids).logits, models[0](ids).logits)


@pytest.mark.slow
def test_the_clinic_can_run_a_case_again(tmp_path, monkeypatch):
    train, held = short_run.sample(load_model("pocket", device="cpu").tokenizer)
    monkeypatch.setattr(short_run, "sample", lambda _: (train, held[:4]))
    name = "adapter on another base"
    for other, code, found in ((True, FAULTS[name].code(), [name]), (False, RIGHT, [])):
        run = short_run.train(name, code, tmp_path / str(other), steps=2, batch=256, other_base=other)
        assert [finding.name for finding in find_faults(run)] == found


def test_the_examples_are_the_sample_s_and_no_question_is_on_both_sides():
    train, held = short_run.sample(load_model("pocket", device="cpu").tokenizer)
    assert len({e.question_id for e in held}) == short_run.HELD_OUT
    assert not {e.question_id for e in held} & {e.question_id for e in train}
