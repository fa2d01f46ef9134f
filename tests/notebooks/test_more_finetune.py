"""The page "More on fine-tuning": its tables are the stored results, and a tool without a rule cannot be learned."""

import json
import random
import re
from dataclasses import replace
from statistics import fmean

import pytest

from lorabook import LoRAConfig, apply_lora, data
from lorabook.data.examples import encode_all
from lorabook.models import load_model
from lorabook.training.answers import answers
from lorabook.training.loop import finetune
from lorabook.workbook.final_run.settings import choose
from lorabook.workbook.kit.side_by_side import short
from lorabook.workbook.kit.stored import stored
from lorabook.workbook.kit.tuned import tuned_runs
from tests.kit.notebooks import MORE_FINETUNE, NOTEBOOKS, cells, table


def test_the_swap_is_a_mean_over_the_seeds():
    swaps, expected = stored("final_run", "question_swap"), []
    base = swaps["base"]
    for count, runs in swaps["lora"].items():
        own, other = (fmean(run[which] for run in runs) for which in ("own", "other"))
        numbers = (base["own"] - own, base["other"] - other, other - own)
        expected.append([f"{int(count):,}", *(f"{number:.3f}" for number in numbers)])
    assert table(MORE_FINETUNE, "SmolLM2 with another question") == expected
    before = base["other"] - base["own"]
    assert f"a wrong question costs it {before:.3f} nats per answer token" in MORE_FINETUNE.read_text("utf-8")
    after = {row[0]: float(row[3]) for row in expected}["1,500"]
    (text,) = [cell["source"] for cell in cells(NOTEBOOKS[-1]) if "(more_finetune.md#smollm2-with" in cell["source"]]
    assert f"it was {before:.2f} before, and {after:.2f} after" in text


def test_the_article_s_settings_are_those_of_the_stored_runs():
    expected = []
    for name, label in (
        ("r = 16, α = 8, embeddings", "r = 16, α = 8, embeddings (the article)"),
        ("r = 16, α = 8", "r = 16, α = 8"),
        ("r = 16, α = 32", "r = 16, α = 32 (the rule)"),
    ):
        run = tuned_runs("pocket")[name]
        expected.append([label, f"{run.lr:g}", f"{min(run.losses):.3f}", f"{max(run.losses):.3f}"])
    assert table(MORE_FINETUNE, "The article's settings") == expected


def test_the_ten_answers_are_the_first_stored_ones():
    page = MORE_FINETUNE.read_text()
    section = page[page.index("## Ten answers of SmolLM2") :]
    expected = []
    for answer in stored("final_run", "smollm2_run")["answers"][:10]:
        assert f"**{answer['title']}**" in section
        for written in (answer["base"], answer["tuned"][0]):
            text = short(written["text"])
            expected.append(text if len(text) <= 300 else f"{text[:300].rstrip()} …")
    assert [part.strip("\n") for part in section.split("````")[1::2]] == [text.strip("\n") for text in expected]


@pytest.mark.slow
def test_flags_that_follow_no_rule_are_guessed(tmp_path, monkeypatch):
    """The first of the page's three files, trained as in notebook 09, whose own cells hold the questions."""
    monkeypatch.setenv("LORABOOK_MODEL", "pocket")
    monkeypatch.chdir(tmp_path)
    (source,) = [cell["source"] for cell in cells(NOTEBOOKS[-1]) if "lab {thing} --{flag}" in cell["source"]]
    written: dict = {"data": data}
    exec(source, written)
    rows = [json.loads(line) for line in written["my_file"].read_text().splitlines()]
    flags = re.findall(r"--\w+", " ".join(row["answer"] for row in rows))
    random.Random(0).shuffle(flags)
    for row, flag in zip(rows, flags, strict=True):
        row["answer"] = re.sub(r"--\w+", flag, row["answer"])
    file = tmp_path / "shuffled.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    run, loaded = choose(), load_model("pocket", device="cpu")
    train, held = data.split(data.load(file).pairs, held_out=0.2)
    apply_lora(loaded.model, LoRAConfig(r=16, alpha=32))
    examples = [encode_all(pairs, loaded.tokenizer, run.max_length) for pairs in (train, held)]
    finetune(loaded.model, *examples, replace(run.training, steps=60, batch_tokens=512, evaluate_every=0, log_every=0))
    found = answers(loaded.model, loaded.tokenizer, held, max_new_tokens=20)
    assert sum(answer.text == pair.answer for answer, pair in zip(found, held)) <= 5  # of 19, by chance 2.4
    objects = [(text.split(" --")[0], pair.answer.split(" --")[0]) for text, pair in zip([a.text for a in found], held)]
    assert sum(mine == theirs for mine, theirs in objects) >= 17
