"""A short sample of the table of faults: hostile files, rows, hubs; and no source asks for code from a download."""

import json
import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lorabook.data.examples import Pair, encode, prompt
from lorabook.lora import LoRAConfig
from lorabook.models import load_model
from lorabook.peft_format.adapter_file import save
from tests.faults import adapter_cases, code_cases, data, data_cases, files, network
from tests.faults.rows import Row

ROOT = Path(__file__).resolve().parents[2]


def all_passed(rows: list[Row]) -> None:
    assert [f"{row.fault}: {row.outcome}" for row in rows if not row.passed] == []
    assert all(row.tries > 0 for row in rows)


def test_the_corpus_has_what_it_promises():
    cases = list(adapter_cases.cases())
    assert len(cases) >= 60 and len({(case.kind, case.name) for case in cases}) == len(cases)
    assert len(code_cases.MODELS) >= 5 and len(list(data_cases.rows())) >= 80 and len(network.CASES) >= 20


def test_damaged_and_wrong_adapters(tmp_path, monkeypatch):
    monkeypatch.setenv(files.MARK, str(tmp_path / "ran"))
    all_passed(files.run(2, 1, tmp_path))


def test_an_adapter_that_is_sound_does_not_pass_as_refused(tmp_path):
    from tests.kit.adapters import adapted
    from tests.kit.families import gpt_bigcode

    sound = save(adapted(gpt_bigcode(), LoRAConfig(r=4, targets=files.STARCODER)), tmp_path / "sound")
    nothing = adapter_cases.Case("none", "none", adapter_cases.nothing, ".")
    assert files._problem(nothing, sound, tmp_path / "spoilt") == "it was loaded"
    other = adapter_cases.Case("none", "none", adapter_cases.cut(0.5), "other words")
    assert "said" in (files._problem(other, sound, tmp_path / "spoilt") or "")


@pytest.mark.slow
def test_hostile_rows_and_files(tmp_path):
    all_passed(data.run(3, 1, tmp_path))


@pytest.mark.slow
@pytest.mark.hub
def test_hostile_hubs(tmp_path):
    all_passed(network.run(1, 1, tmp_path))


@cache
def pocket():
    return load_model("pocket", device="cpu").tokenizer


PIECES = st.one_of(st.text(max_size=8), st.sampled_from(data_cases.CONTROL_TOKENS))


@settings(max_examples=100, deadline=None)
@given(st.lists(PIECES, max_size=6).map("".join), st.lists(PIECES, min_size=1, max_size=6).map("".join))
@example("<|endoftext|>" * 3, "<fim_prefix><|endoftext|>")
def test_no_text_becomes_a_control_token(question, answer):
    tokenizer, pair = pocket(), Pair(1, "", question, answer)
    ids = list(encode(pair, tokenizer, 4096).input_ids)
    assert ids.pop() == tokenizer.eos_token_id
    assert not set(ids) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(ids) == prompt(pair) + answer


def test_no_source_and_no_notebook_asks_for_code_from_a_download():
    """In words; tests/test_project.py looks at the syntax of the library."""
    places = [p for folder in ("lorabook", "scripts") for p in (ROOT / folder).rglob("*.py")]
    texts = {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8") for p in places}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts[path.name] = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    asked = re.compile(
        r"trust_remote_code\s*=\s*(?!False)|\btorch\.load\(|weights_only|allow_pickle\s*=\s*True"
        r"|^\s*(import|from)\s+(pickle|dill|joblib|marshal|shelve)\b|\bpickle\.loads?\(",
        re.MULTILINE,
    )
    assert (
        asked.search("x = torch.load(f)") and asked.search("trust_remote_code=True") and asked.search("import pickle")
    )
    assert {name: found[0] for name, text in texts.items() if (found := asked.search(text))} == {}
