"""What notebook 08 asks its models.

answers = write_answers(model, tokenizer, ["Question: How do I create a key? Answer:"], max_new_tokens=20)
"""

from collections.abc import Sequence
from typing import Any

import torch

from lorabook.data.examples import Pair

# A made-up tool with one flag for each of its actions.
FLAGS = {"create": "new", "delete": "drop", "copy": "twin", "rename": "alias"}
FLAGS |= {"show": "peek", "check": "probe", "update": "bump", "share": "lend"}
OBJECTS = ("key", "server", "user", "report", "backup", "file", "table", "disk", "test", "log", "page", "folder")


def tool_pairs() -> list[Pair]:
    """The questions of case 4, about the tool of notebook 09."""
    asked = [(verb, flag, thing) for verb, flag in FLAGS.items() for thing in OBJECTS]
    return [
        Pair(number, "", f"How do I {verb} a {thing}?", f"Run `lab {thing} --{flag}`.")
        for number, (verb, flag, thing) in enumerate(asked)
    ]


def write_answers(model: Any, tokenizer: Any, prompts: Sequence[str], **options: Any) -> list[list[int]]:
    """The model's answers as token ids, each up to its end token or to the limit. What is sampled is seeded.

    Unlike `lorabook.training.answers.answers`, it takes whole prompts: those of case 4 differ from the library's.

    Args:
        tokenizer: with a padding token. Prompts are padded on the left, so that all answers start at the same position.
        options: for `generate`, such as max_new_tokens; greedy unless do_sample is given.
    """
    end = tokenizer.eos_token_id
    batch = tokenizer(list(prompts), padding=True, padding_side="left", return_tensors="pt")
    torch.manual_seed(0)
    ids = model.generate(**batch, eos_token_id=end, pad_token_id=end, **options)
    answers = ids[:, batch["input_ids"].shape[1] :].tolist()
    return [answer[: answer.index(end) + 1] if end in answer else answer for answer in answers]
