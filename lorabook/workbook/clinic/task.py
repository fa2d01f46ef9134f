"""The task of notebook 08: which Python function to use.

test(model) == "20 of 20 right: ' With print(points).', ' With sorted(weights).', …"
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

from lorabook.models import load_model

FUNCTIONS = {"sort": "sorted", "reverse": "reversed", "add up": "sum", "count": "len", "print": "print"}
FUNCTIONS |= {"remove duplicates from": "set"}
LISTS = ("ages", "costs", "grades", "hours", "losses", "numbers", "points", "prices")
LISTS += ("ranks", "scores", "sizes", "steps", "totals", "votes", "weights", "years")
HELD_OUT, SEED, LIMIT = 20, 27, 16

Pairs = list[tuple[str, str]]


def _pairs() -> tuple[Pairs, Pairs]:
    """All questions with their answers: to hold out, and to train on."""
    asked = [(task, function, name) for task, function in FUNCTIONS.items() for name in LISTS]
    pairs = [(f"How do I {task} the {name}?", f"With {function}({name}).") for task, function, name in asked]
    random.Random(SEED).shuffle(pairs)
    return pairs[:HELD_OUT], pairs[HELD_OUT:]


held_out_pairs, training_pairs = _pairs()


def load_tokenizer() -> Any:
    """The pocket model's tokenizer, which has no padding token of its own: it pads with the end token."""
    tokenizer = load_model("pocket", device="cpu").tokenizer
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def prompt_for(question: str) -> str:
    """The prompt of training."""
    return f"Question: {question}\nAnswer:"


def write_answers(model: Any, build_prompt: Callable[[str], str] = prompt_for) -> list[str]:
    """The pocket model's answers to the held-out questions, greedy, up to the end token or to LIMIT tokens."""
    tokenizer = load_tokenizer()
    prompts = [build_prompt(question) for question, _ in held_out_pairs]
    # Padding on the left, so that all answers start at the same position.
    batch = tokenizer(prompts, padding=True, padding_side="left", return_tensors="pt")
    ids = model.eval().generate(**batch, max_new_tokens=LIMIT, do_sample=False, pad_token_id=tokenizer.eos_token_id)
    return tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def count_right(answers: Sequence[str]) -> int:
    """How many answers are exactly those expected, with the space before them."""
    return sum(answer == f" {expected}" for answer, (_, expected) in zip(answers, held_out_pairs, strict=True))


def test(model: Any, build_prompt: Callable[[str], str] = prompt_for) -> str:
    """What a model gets right, with its first two answers."""
    answers = write_answers(model, build_prompt)
    return f"{count_right(answers)} of {len(answers)} right: {answers[0]!r}, {answers[1]!r}, …"
