"""Tokens on lines of docstrings: against the text itself."""

import torch

from lorabook.models.load import load_model
from lorabook.workbook.from_scratch.docstring_lines import on_docstring_lines


def test_the_marked_tokens_spell_the_lines_with_triple_quotes():
    tokenizer = load_model("pocket", device="cpu").tokenizer
    text = 'def f(x):\n    """Return x."""\n    return x\n\n\ndef g():\n    """Two\n'
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    mask = on_docstring_lines(ids, tokenizer)
    assert mask.shape == ids.shape
    marked, rest = ("".join(tokenizer.decode(ids[part]).split()) for part in (mask, ~mask))  # indents are no matter
    assert marked == '"""Returnx.""""""Two'
    assert rest == "deff(x):returnxdefg():"
