"""The run of notebook 09 made ready: nothing is trained yet, and its ten answers are the base's and the model's own."""

from dataclasses import replace

import pytest

from lorabook import LoRAConfig, lora_layers
from lorabook.models import load_model
from lorabook.training.answers import answers
from lorabook.workbook.final_run import run as final_run
from lorabook.workbook.final_run.settings import settings_for
from lorabook.workbook.kit.stored import stored


@pytest.mark.seconds
def test_the_ten_answers_are_the_base_s_and_the_model_s(monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr(final_run, "side_by_side", lambda headings, texts, folded: shown.append(texts))
    monkeypatch.setenv("LORABOOK_OUTPUT", str(tmp_path))
    # of 60 rows, 57 are used
    run = final_run.prepare(replace(settings_for("pocket"), rows=60), LoRAConfig(r=2, alpha=4))
    assert (len(run.training), len(run.held_out), len(run.held_out_pairs)) == (46, 11, 11)
    for _, layer in lora_layers(run.model):
        layer.B.data.normal_(std=0.5)
    assert run.save() == tmp_path and (tmp_path / "adapter_model.safetensors").is_file()
    final_run.ten_answers(run, max_new_tokens=8)
    ten = run.held_out_pairs[:10]
    base, trained = (answers(model, run.loaded.tokenizer, ten, 8) for model in (load_model("pocket").model, run.model))
    assert shown == [[(pair.title, old.text, new.text) for pair, old, new in zip(ten, base, trained)]]
    assert [old.text for old in base] != [new.text for new in trained]


def test_smollm2_s_ten_answers_are_the_first_stored_ones(monkeypatch):
    shown = []
    monkeypatch.setattr(final_run, "side_by_side", lambda headings, texts, folded: shown.extend(texts))
    final_run.smollm2_answers()
    answers = stored("final_run", "smollm2_run")["answers"][:10]
    assert shown == [(each["title"], each["base"]["text"], each["tuned"][0]["text"]) for each in answers]
    assert len(shown) == 10 and all(before != after for _, before, after in shown)
