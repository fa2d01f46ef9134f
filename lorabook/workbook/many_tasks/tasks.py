"""Three tasks from the same questions: one prompt, and three kinds of answer to it.

"title" asks for the question's title, "code" for the code of its answer, "prose" for its answer without the code. The
prompt is the question's body in all three, so nothing in it tells which of them is wanted: an adapter has to know.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lorabook.data.examples import Example, Pair, encode_prompt, tokenize
from lorabook.data.fences import separate_code
from lorabook.workbook.kit.stored import stored

TASKS = ("title", "code", "prose")


def task_pairs(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """By task, a pair for every question: its body without the title, and the answer that the task asks for.

    Code blocks are joined by a blank line, without their fences; so are the paragraphs between them. A question that
    lacks one of the three answers is left out of all: `len(pairs) - len(task_pairs(pairs)["title"])` of them.
    """
    tasks: dict[str, list[Pair]] = {task: [] for task in TASKS}
    for pair in pairs:
        blocks, prose = separate_code(pair.answer)
        code = "\n\n".join(block for block in blocks if block.strip())
        answers = pair.title, code, re.sub(r"\n{3,}", "\n\n", prose).strip()
        if all(answers):
            for task, answer in zip(TASKS, answers):
                tasks[task].append(Pair(pair.question_id, "", pair.question, answer, pair.tags))
    return tasks


def encode_task(pairs: Sequence[Pair], tokenizer, max_length: int) -> list[Example]:
    """Pairs as ids, like `batches.encode`, but with the prompt cut to half of `max_length` whatever the answer.

    So a question's prompt is the same ids in every task. A cut answer carries no end token.
    """
    examples = []
    for pair in pairs:
        start = encode_prompt(pair, tokenizer, max_length // 2)
        ids = [*start, *tokenize(pair.answer, tokenizer), tokenizer.eos_token_id]
        examples.append(Example(tuple(ids[:max_length]), len(start), pair.question_id))
    return examples


@dataclass(frozen=True)
class Run:
    """One adapter, trained on one task, and its held-out loss on every task in nats per answer token."""

    task: str
    lr: float
    seed: int
    steps: int
    tokens: int
    losses: dict[str, float]
    cpu_seconds: float


@dataclass(frozen=True)
class CrossLosses:
    """The runs of one size of `scripts/assets/three_tasks.py`, and the untouched model's loss on every task.

    `questions` were trained on and `held_out` measured on, the same in all tasks; `left_out` lacked an answer.
    """

    batch_tokens: int
    questions: int
    held_out: int
    left_out: int
    answer_tokens: dict[str, int]
    held_out_tokens: dict[str, int]
    base: dict[str, float]
    runs: tuple[Run, ...]

    def best(self, task: str) -> list[Run]:
        """The runs of a task at the rate with the first seed's least loss on it, one a seed."""
        runs = [run for run in self.runs if run.task == task]
        lr = min((run for run in runs if run.seed == 0), key=lambda run: run.losses[task]).lr
        return sorted((run for run in runs if run.lr == lr), key=lambda run: run.seed)

    def values(self, adapter: str, task: str) -> list[float]:
        """The loss of the adapter trained on `adapter` on the answers of `task`, one a seed."""
        return [run.losses[task] for run in self.best(adapter)]

    def table(self) -> dict[str, dict[str, float]]:
        """By adapter, by task, the mean of `values`."""
        return {adapter: {task: fmean(self.values(adapter, task)) for task in TASKS} for adapter in TASKS}


def stored_losses(size: str = "real") -> CrossLosses:
    """The runs that ship with the book, "real" or "live"."""
    record = stored("many_tasks", "three_tasks")[size]
    return CrossLosses(**record | {"runs": tuple(Run(**run) for run in record["runs"])})
