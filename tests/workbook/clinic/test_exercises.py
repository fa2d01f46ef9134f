"""The exercises' solutions against Transformers' collators and the standard library; other answers."""

from os.path import commonprefix

import pytest
from transformers import DataCollatorForLanguageModeling, DataCollatorForSeq2Seq

from lorabook.models import load_model
from lorabook.workbook.exercises import BY_ROOM
from tests.workbook.mistake_bank import load, said

ANSWERS = {exercise.name: load(exercise.solution) for exercise in BY_ROOM["clinic"]}


def test_label_fault_sees_what_transformers_collators_make():
    """Of the pocket model's examples: padded, truncated, with the padding masked by its id, without an answer."""
    tokenizer = load_model("pocket", device="cpu").tokenizer
    end = tokenizer.pad_token_id = tokenizer.eos_token_id
    collate, by_id = DataCollatorForSeq2Seq(tokenizer), DataCollatorForLanguageModeling(tokenizer, mlm=False)
    fault = ANSWERS["label_fault"]
    whole = [{"input_ids": ids, "labels": ids} for ids in ([5, 6, end], [5, 6, 7, 8, end])]
    assert fault(collate(whole)["labels"], end) == "nothing"
    assert fault(by_id([{"input_ids": each["input_ids"]} for each in whole])["labels"], end) == "no end token"
    truncated = {"input_ids": [5, 6, 7], "labels": [5, 6, 7]}
    assert fault(collate([*whole, truncated])["labels"], end) == "no end token"
    masked = {"input_ids": [5, 6], "labels": [-100, -100]}
    assert fault(collate([truncated, masked])["labels"], end) == "no labels"


@pytest.mark.parametrize(
    "template", ["Question: {}\nAnswer:\n", "Question: {}\nAnswer", "Q: {}\nA:", "Question: {}\nAnswer:"]
)
def test_prompt_difference_ends_the_common_prefix(template):
    """Of an example of notebook 08 and four prompts, as the standard library finds it."""
    tokenizer = load_model("pocket", device="cpu").tokenizer
    prompt = tokenizer("Question: How do I sort the votes?\nAnswer:").input_ids
    answer = tokenizer(" Use `sorted(votes)`.").input_ids
    example = {"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer}
    other = tokenizer(template.format("How do I sort the votes?")).input_ids
    common = len(commonprefix([prompt, other]))  # noqa: RUF071 - which works on lists, too
    assert ANSWERS["prompt_difference"](example, other) == (None if prompt == other else common)


def test_an_unknown_mistake_is_shown_where_it_fails(capsys):
    answer = said(capsys, "label_fault", lambda labels, end: 7)
    assert "your code gives 7, expected 'nothing'" in answer
