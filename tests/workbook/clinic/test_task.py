"""The task's questions, and answers to several prompts at once."""

import pytest
import torch

from lorabook.models import load_model
from lorabook.workbook.clinic import task


def words(pairs):
    """The functions and the lists that the answers name."""
    return [tuple(answer.removeprefix("With ").removesuffix(").").split("(")) for _, answer in pairs]


def test_training_shows_each_function_and_each_list_but_no_held_out_question():
    held_out, training = words(task.held_out_pairs), words(task.training_pairs)
    assert (len(held_out), len(training)) == (20, 76) and len(set(held_out + training)) == 96
    assert {function for function, _ in held_out} == {function for function, _ in training}
    assert {name for _, name in held_out} <= {name for _, name in training}


def test_an_answer_does_what_its_question_asks():
    """The answers, run as Python code."""
    questions = dict(task.held_out_pairs + task.training_pairs)
    for verb, expected in (("sort", [1, 2, 2]), ("reverse", [2, 1, 2]), ("add up", 5), ("count", 3)):
        found = eval(questions[f"How do I {verb} the votes?"][5:-1], {"votes": [2, 1, 2]})
        assert (list(found) if verb in ("sort", "reverse") else found) == expected
    assert eval(questions["How do I remove duplicates from the votes?"][5:-1], {"votes": [2, 1, 2]}) == {1, 2}


@pytest.fixture(scope="module")
def model():
    return load_model("pocket", device="cpu").model


def test_answers_written_together_are_those_written_alone(model):
    """Greedy ones: padding on the left changes nothing."""
    tokenizer = load_model("pocket", device="cpu").tokenizer
    alone = []
    for question, _ in task.held_out_pairs:
        ids = tokenizer(task.PROMPT.format(question), return_tensors="pt").input_ids
        for _ in range(task.LIMIT):
            best = model(input_ids=ids).logits[:, -1:].argmax(-1)
            if best == tokenizer.eos_token_id:
                break
            ids = torch.cat([ids, best], dim=1)
        alone.append(tokenizer.decode(ids[0])[len(task.PROMPT.format(question)) :])
    assert task.write_answers(model) == alone


def test_only_exact_answers_are_right(model, monkeypatch):
    expected = [f" {answer}" for _, answer in task.held_out_pairs]
    assert task.count_right(expected) == 20
    assert task.count_right([answer + "." for answer in expected]) == task.count_right([""] * 20) == 0
    monkeypatch.setattr(task, "write_answers", lambda model, prompt: ["", *expected[1:]])
    assert task.test(model) == f"19 of 20 right: '', {expected[1].strip()!r}, …"
