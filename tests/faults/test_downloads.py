"""Downloads are data: no text of a post becomes a control token, no file of ours asks for code from the network."""

import json
import re
from functools import cache

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lorabook.data.examples import Pair, encode, prompt
from lorabook.models import load_model
from tests.faults import ROOT, data_cases


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
    """In words; tests/project/test_project.py looks at the syntax of the library."""
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
