"""The task of notebook 08, which Python function to use, with a run that learns it.

test(model) == "20 of 20 right: 'With print(points).', 'With sorted(weights).', …"
"""

import random
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DataCollatorForSeq2Seq

from lorabook import LoRAConfig, apply_lora
from lorabook.models import load_model

FUNCTIONS = {"sort": "sorted", "reverse": "reversed", "add up": "sum", "count": "len", "print": "print"}
FUNCTIONS |= {"remove duplicates from": "set"}
LISTS = ("ages", "costs", "grades", "hours", "losses", "numbers", "points", "prices")
LISTS += ("ranks", "scores", "sizes", "steps", "totals", "votes", "weights", "years")
HELD_OUT, SEED, LIMIT = 20, 27, 16
PROMPT = "Question: {}\nAnswer:"

Pairs = list[tuple[str, str]]


def _pairs() -> tuple[Pairs, Pairs]:
    """All questions with their answers: to hold out, and to train on."""
    asked = [(task, function, name) for task, function in FUNCTIONS.items() for name in LISTS]
    pairs = [(f"How do I {task} the {name}?", f"With {function}({name}).") for task, function, name in asked]
    random.Random(SEED).shuffle(pairs)
    return pairs[:HELD_OUT], pairs[HELD_OUT:]


held_out_pairs, training_pairs = _pairs()
training_texts = [f"{PROMPT.format(question)} {answer}" for question, answer in training_pairs]


def load_tokenizer() -> Any:
    """The pocket model's tokenizer, which has no padding token of its own: it pads with the end token."""
    tokenizer = load_model("pocket", device="cpu").tokenizer
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


# The notebook shows the source of the next three functions and explains it, so they have no types or docstrings.


def model_with_lora():
    model = load_model("pocket", device="cpu").model
    apply_lora(model, LoRAConfig(r=16, alpha=32))
    return model


def encode(tokenizer, question, answer):
    prompt_ids = tokenizer(PROMPT.format(question)).input_ids
    answer_ids = tokenizer(" " + answer, add_special_tokens=False).input_ids
    answer_ids.append(tokenizer.eos_token_id)  # the end token
    labels = [-100] * len(prompt_ids) + answer_ids
    return {"input_ids": prompt_ids + answer_ids, "labels": labels}


def train(model, examples, collate=None, steps=40, lr=0.005):
    collate = collate or DataCollatorForSeq2Seq(load_tokenizer())
    model.train()
    trainable = [p for p in model.parameters() if p.requires_grad]  # A and B
    optimizer = torch.optim.AdamW(trainable, lr=lr)
    random.seed(0)
    log = []
    for _ in range(steps):
        batch = collate(random.choices(examples, k=8))
        loss = model(**batch).loss
        loss.backward()
        grad_norm = torch.nn.utils.get_total_norm([p.grad for p in trainable])
        optimizer.step()
        optimizer.zero_grad()
        log.append((round(loss.item(), 3), round(grad_norm.item(), 3)))
    return log


def try_to_train(model: Any, examples: Sequence[dict[str, list[int]]]) -> None:
    """Train for one step, and print each of its warnings once, then its error."""
    failure = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            train(model, examples, steps=1)
        except RuntimeError as error:
            failure = error
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        print("warning:", message)
    print("error:", failure)


def write_answers(model: Any, prompt: str = PROMPT) -> list[str]:
    """The pocket model's answers to the held-out questions, greedy, up to the end token or to LIMIT tokens."""
    tokenizer = load_tokenizer()
    prompts = [prompt.format(question) for question, _ in held_out_pairs]
    # Padding on the left, so that all answers start at the same position.
    batch = tokenizer(prompts, padding=True, padding_side="left", return_tensors="pt")
    ids = model.eval().generate(**batch, max_new_tokens=LIMIT, do_sample=False, pad_token_id=tokenizer.eos_token_id)
    return tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def count_right(answers: Sequence[str]) -> int:
    """How many answers are exactly those expected, but for spaces around them."""
    return sum(answer.strip() == expected for answer, (_, expected) in zip(answers, held_out_pairs, strict=True))


def test(model: Any, prompt: str = PROMPT) -> str:
    """What a model gets right, with its first two answers."""
    answers = write_answers(model, prompt)
    first, second = (answer.strip() for answer in answers[:2])
    return f"{count_right(answers)} of {len(answers)} right: {first!r}, {second!r}, …"
