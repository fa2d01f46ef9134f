"""Three tasks from the same questions: hand-made posts, the wanted texts spelled out; and the stored runs."""

import pytest

from lorabook.data.examples import Pair, prompt
from lorabook.data.split import split
from lorabook.data.stackoverflow import load
from lorabook.models import load_model
from lorabook.training.evaluate import answer_loss
from lorabook.workbook.many_tasks.tasks import TASKS, encode_task, stored_losses, task_pairs

ANSWER = """Use a list:

```
def f(x):
    return [x]
```

Then call `f`.

````
f("```")

f(2)
````"""
PAIR = Pair(7, "How to wrap?", "I have **x**.", ANSWER, ("python",))
WANTED = {
    "title": "How to wrap?",
    "code": 'def f(x):\n    return [x]\n\nf("```")\n\nf(2)',
    "prose": "Use a list:\n\nThen call `f`.",
}
LACKING = [
    Pair(1, "", "q", ANSWER),
    Pair(2, "No code", "q", "Only `words`."),
    Pair(3, "No words", "q", "```\nx = 1\n```"),
    Pair(4, "Empty code", "q", "Words.\n\n```\n\n```"),
]


@pytest.fixture(scope="module")
def tokenizer():
    return load_model("pocket").tokenizer


def test_three_answers_to_one_prompt():
    for task, (pair,) in task_pairs([PAIR]).items():
        assert pair.answer == WANTED[task]
        assert prompt(pair) == "Question: I have **x**.\n\nAnswer:\n"
        assert (pair.question_id, pair.tags) == (7, ("python",))


def test_a_question_that_lacks_one_answer_is_left_out_of_all():
    found = task_pairs([*LACKING, PAIR])
    assert {task: [p.question_id for p in pairs] for task, pairs in found.items()} == {task: [7] for task in TASKS}


def test_labels_are_the_wanted_text_and_the_end_token(tokenizer):
    prompts = set()
    for task, pairs in task_pairs([PAIR]).items():
        (example,) = encode_task(pairs, tokenizer, 256)
        labels = example.input_ids[example.answer_start :]
        assert labels[-1] == tokenizer.eos_token_id and tokenizer.decode(labels[:-1]) == WANTED[task]
        prompts.add(example.input_ids[: example.answer_start])
    (ids,) = prompts
    assert tokenizer.decode(ids) == "Question: I have **x**.\n\nAnswer:\n"


def test_a_long_prompt_is_cut_alike_and_a_long_answer_loses_its_end_token(tokenizer):
    long = Pair(8, "Short", "word " * 300, "Short.\n\n```\n" + "f(x)\n" * 200 + "```")
    examples = {task: encode_task(pairs, tokenizer, 64)[0] for task, pairs in task_pairs([long]).items()}
    assert {e.answer_start for e in examples.values()} == {32}
    assert len({e.input_ids[:32] for e in examples.values()}) == 1
    assert len(examples["code"].input_ids) == 64 and examples["code"].input_ids[-1] != tokenizer.eos_token_id
    assert examples["title"].input_ids[-1] == tokenizer.eos_token_id


def test_no_question_is_held_out_in_one_task_and_trained_on_in_another():
    found = task_pairs(load("sample").pairs)
    sides = [split(pairs, 24) for pairs in found.values()]
    trained, held = ([{pair.question_id for pair in part} for part in parts] for parts in zip(*sides))
    assert trained[0] == trained[1] == trained[2] and held[0] == held[1] == held[2]
    assert len(held[0]) == 24 and not trained[0] & held[0]


class TestStoredRuns:
    def test_every_adapter_helps_on_its_own_answers_with_every_seed(self):
        for size in ("real", "live"):
            found = stored_losses(size)
            for task in TASKS:
                assert [run.seed for run in found.best(task)] == [0, 1, 2]
                assert max(found.values(task, task)) < found.base[task]

    def test_the_rate_is_the_best_of_those_tried_and_no_end_of_the_grid(self):
        for task in TASKS:
            tried = {run.lr: run.losses[task] for run in stored_losses().runs if run.task == task and run.seed == 0}
            (best,) = {run.lr for run in stored_losses().best(task)}
            assert min(tried) < best < max(tried) and tried[best] == min(tried.values())
            assert {run.lr for run in stored_losses("live").best(task)} == {best}

    @pytest.mark.seconds
    def test_what_notebook_07_repeats_is_what_was_measured(self):
        found, loaded = stored_losses("live"), load_model("pocket", device="cpu")
        for task, pairs in task_pairs(load("sample").pairs).items():
            train, held = split(pairs, found.held_out)
            examples = encode_task(held, loaded.tokenizer, 256)
            loss = answer_loss(loaded.model, examples)
            assert loss.loss == pytest.approx(found.base[task], abs=1e-3)
            assert loss.tokens == found.held_out_tokens[task] and len(train) == found.questions

    def test_table_is_the_mean_of_the_seeds(self):
        means = stored_losses().table()
        assert means["code"]["prose"] == pytest.approx(sum(r.losses["prose"] for r in stored_losses().best("code")) / 3)
