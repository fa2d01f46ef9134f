"""The held-out source: what is in it, how it is cut into rows, and that its loss is the plain mean over tokens."""

import ast

import pytest
import torch

from lorabook.models import load_model
from lorabook.training.evaluate import answer_loss
from lorabook.workbook.kit.shipped_source import source_files
from lorabook.workbook.rank_and_alpha.forgetting import SOURCE, source_rows


def test_the_source_is_python_under_its_licences():
    files = source_files(SOURCE)
    assert 80_000 < sum(map(len, files.values())) < 130_000
    for name, text in files.items():
        assert ast.parse(text).body, name
    head = SOURCE.read_text().partition("==== file: ")[0]
    packages = {name.split("/")[0] for name in files}
    assert packages == {"jinja2", "bs4"} and "Redistribution and use" in head and "Permission is hereby granted" in head


def test_the_source_lies_outside_the_pocket_model_s_corpus():
    import json

    card = json.loads((SOURCE.parent / "pocket" / "card.json").read_text())
    held_out = {source["name"].lower() for source in card["sources"] if source["held_out"]}
    assert {"jinja2", "beautifulsoup4"} <= held_out


def test_rows_are_whole_and_count_every_token_but_the_first():
    loaded = load_model("pocket", device="cpu")
    rows = source_rows(loaded.tokenizer, 128)
    assert {len(row.input_ids) for row in rows} == {128} and {row.label_tokens for row in rows} == {127}
    text = loaded.tokenizer.decode(rows[0].input_ids)
    assert next(iter(source_files(SOURCE).values())).startswith(text)
    few = rows[:3]
    ids = torch.tensor([row.input_ids for row in few])
    with torch.no_grad():
        plain = loaded.model(ids, labels=ids).loss.item()
    assert answer_loss(loaded.model, few).loss == pytest.approx(plain, abs=1e-5)
