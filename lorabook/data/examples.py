"""A question with its answer, first as text, then as the token ids that a model is trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

from lorabook.errors import DataError

ANSWER_MARK = "\n\nAnswer:\n"  # ends every prompt


@dataclass(frozen=True)
class Pair:
    """A question and its answer as text, code in Markdown fences. `title` may be empty; question and answer are not."""

    question_id: int
    title: str
    question: str
    answer: str
    tags: tuple[str, ...] = ()


def prompt(pair: Pair) -> str:
    """What the model is given; `pair.answer` is what it is to write after it."""
    question = f"{pair.title}\n\n{pair.question}" if pair.title else pair.question
    return f"Question: {question}{ANSWER_MARK}"


@dataclass(frozen=True)
class Example:
    """A question and its answer as token ids. Labels are the ids from `answer_start` on, the end token among them."""

    input_ids: tuple[int, ...]
    answer_start: int
    question_id: int

    def __post_init__(self) -> None:
        if not 1 <= self.answer_start < len(self.input_ids):
            raise DataError(
                f"The answer starts at token {self.answer_start} of {len(self.input_ids)}.",
                "Give a row at least one token before its answer and one in it.",
            )

    @property
    def label_tokens(self) -> int:
        return len(self.input_ids) - self.answer_start


def tokenize(text: str, tokenizer) -> list[int]:
    """Ids of plain text: the name of a special token inside a post stays text and never becomes a control token."""
    # Not verbose: the row is cut later, and a warning about its length would be wrong.
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False).input_ids


def end_token(tokenizer) -> int:
    """The id of the token that ends an answer. Raises DataError where the tokenizer has none."""
    if tokenizer.eos_token_id is None:
        raise DataError(
            "The tokenizer has no end token, so no answer could be taught to end.",
            'Name one of its tokens: tokenizer.eos_token = "...".',
        )
    return tokenizer.eos_token_id


def encode_prompt(pair: Pair, tokenizer, max_length: int) -> list[int]:
    """Ids of the prompt, at most `max_length`. A prompt that is too long loses the end of its question."""
    question, mark = prompt(pair).removesuffix(ANSWER_MARK), tokenize(ANSWER_MARK, tokenizer)
    return tokenize(question, tokenizer)[: max(0, max_length - len(mark))] + mark


def encode(pair: Pair, tokenizer, max_length: int) -> Example:
    """A pair as ids: prompt, answer, end token. Both parts are tokenised apart and joined as ids.

    A pair longer than `max_length` tokens first loses the end of its question, down to half of `max_length`, then the
    end of its answer. A cut answer carries no end token, so that the model does not learn to stop there.

    Raises:
        DataError: `max_length` leaves no room for an answer, or the tokenizer has no end token.
    """
    answer = [*tokenize(pair.answer, tokenizer), end_token(tokenizer)]
    room = max(max_length - len(answer), max_length // 2)
    start = encode_prompt(pair, tokenizer, room)
    if len(start) >= max_length:
        raise DataError(f"A maximum length of {max_length} tokens leaves no room for an answer.", "Give at least 64.")
    return Example(tuple([*start, *answer][:max_length]), len(start), pair.question_id)


def encode_all(pairs: Sequence[Pair], tokenizer, max_length: int) -> list[Example]:
    """`encode` over pairs; those whose answer is empty are left out."""
    return [encode(pair, tokenizer, max_length) for pair in pairs if pair.answer.strip()]
