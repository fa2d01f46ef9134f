"""Answers to several prompts at once."""

import pytest

from lorabook.models import load_model
from lorabook.workbook.clinic.answers import write_answers

GREEDY = {"max_new_tokens": 8}


@pytest.fixture(scope="module")
def tokenizer():
    tokenizer = load_model("pocket", device="cpu").tokenizer
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def test_answers_written_together_are_those_written_alone(tokenizer):
    """Greedy ones: padding on the left changes nothing."""
    model = load_model("pocket", device="cpu").model
    prompts = ["Question: How do I sort a list of numbers in Python?\nAnswer:", "Question: Why?\nAnswer:"]
    alone = [write_answers(model, tokenizer, [each], **GREEDY)[0] for each in prompts]
    assert write_answers(model, tokenizer, prompts, **GREEDY) == alone


def test_an_answer_ends_with_its_end_token(tokenizer):
    model, prompts = load_model("pocket", device="cpu").model, ["Question: Why?\nAnswer:"] * 2
    end = tokenizer.eos_token_id
    assert all(len(answer) == 8 and end not in answer for answer in write_answers(model, tokenizer, prompts, **GREEDY))
    model.generation_config.suppress_tokens = [token for token in range(len(tokenizer)) if token != end]
    assert write_answers(model, tokenizer, prompts, **GREEDY) == [[end]] * 2
