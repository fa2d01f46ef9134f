"""The page "More on fine-tuning": its tables and answers are the stored ones."""

import json
import re
from statistics import fmean
from types import SimpleNamespace

import pytest
import torch

from lorabook import LoRAConfig
from lorabook.workbook.final_run.settings import settings_for
from lorabook.workbook.kit.side_by_side import short
from lorabook.workbook.kit.stored import stored
from lorabook.workbook.kit.tuned import base_loss, question_counts, tuned_runs
from tests.kit.notebooks import MORE_FINETUNE, NOTEBOOKS, cells, section, table


def test_your_own_data_in_notebook_09_takes_one_pass(tmp_path, monkeypatch):
    """As every run that ends after a number of passes, not of steps, such as StarCoder's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LORABOOK_OUTPUT", "runs")
    rows = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(10)]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    text = section(MORE_FINETUNE, "Your own data in notebook 09")
    mine = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0].replace("smollm2", "pocket")
    (run,) = [cell["source"] for cell in cells(NOTEBOOKS[-1]) if "choose()" in cell["source"]]
    names = {"lora": LoRAConfig(r=2, alpha=4)}
    exec(mine + run.replace("choose()", "mine"), names)
    assert len(names["run"].training) == 8 and names["history"].stopped == "finished"
    assert len(names["history"].steps) == 1
    assert (tmp_path / "runs/adapter_model.safetensors").is_file()


def test_what_more_questions_bring_is_what_is_stored():
    drops = {
        count: [base_loss("smollm2") - fmean(runs[name].losses) for name in ("r = 16, α = 32", "full fine-tuning")]
        for count in question_counts("smollm2")
        for runs in [tuned_runs("smollm2", count)]
    }
    rows = [[f"{count:,}", *(f"{drop:.3f}" for drop in both)] for count, both in drops.items()]
    assert table(MORE_FINETUNE, "More questions") == rows
    assert all(abs(lora - full) < 0.01 for count, (lora, full) in drops.items() if count <= 1500)
    lora, full = drops[5000]
    assert round(100 * lora / full) == 94 and round(10 * drops[50][0] / lora) == 4


def test_the_swap_is_a_mean_over_the_seeds():
    swaps, expected = stored("final_run", "question_swap"), []
    base = swaps["base"]
    for count, runs in swaps["lora"].items():
        own, other = (fmean(run[which] for run in runs) for which in ("own", "other"))
        numbers = (base["own"] - own, base["other"] - other, other - own)
        expected.append([f"{int(count):,}", *(f"{number:.3f}" for number in numbers)])
    assert table(MORE_FINETUNE, "Does the model use the question?") == expected
    before = base["other"] - base["own"]
    assert f"a wrong question costs it {before:.3f} nats per answer token" in MORE_FINETUNE.read_text("utf-8")


@pytest.mark.seconds
@pytest.mark.skipif(torch.cuda.is_available(), reason="the page shows a step on the CPU")
def test_the_memory_of_a_step_is_printed_as_on_the_page(capsys):
    code, printed = re.findall(r"```(?:python)?\n(.*?)```", section(MORE_FINETUNE, "The memory of a step"), re.DOTALL)
    run = SimpleNamespace(settings=settings_for("pocket"))
    exec(code, {"run": run, "lora": LoRAConfig(r=16, alpha=32)})
    assert capsys.readouterr().out == printed


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
    text = section(MORE_FINETUNE, "Ten answers of SmolLM2")
    expected = []
    for answer in stored("final_run", "smollm2_run")["answers"][:10]:
        assert f"**{answer['title']}**" in text
        for written in (answer["base"], answer["tuned"][0]):
            whole = short(written["text"])
            expected.append(whole if len(whole) <= 300 else f"{whole[:300].rstrip()} …")
    assert [part.strip("\n") for part in text.split("````")[1::2]] == [each.strip("\n") for each in expected]


def test_the_ten_titles_are_the_first_stored_ones():
    found = stored("final_run", "smollm2_titles")
    rows = table(MORE_FINETUNE, "Ten titles of SmolLM2")
    results, titles = rows[:2], rows[4:]  # between them, the second table's head
    ways = [found["ways"][way] for way in ("base", "chat", "seed 0", "seed 1")]
    losses, ended = ([f"{way['test']:.2f}" for way in ways], [f"{way['ended']}%" for way in ways])
    for (_, *shown), (before, chat, *after) in zip(results, (losses, ended), strict=True):
        assert shown == [before, chat, ", ".join(after)]
    assert len(titles) == 10 and sum(fits == "yes" for *_, fits in titles) == 4
    for (real, chat, after, _), each in zip(titles, found["titles"]):
        assert real == each["title"]
        for shown, written in ((chat, each["chat"]), (after, each["seed 0"])):
            whole = " ".join(written.replace("`", "").split())
            assert shown == whole or (whole.startswith(shown.removesuffix(" …")) and len(shown) > 45)
