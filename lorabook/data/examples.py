"""A question with its answer, first as text, then as the token ids that a model is trained on."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from lorabook.data.chat_template import Piece, end_of_turn, written
from lorabook.errors import DataError

ANSWER_MARK = "\n\nAnswer:\n"  # ends every prompt


class Message(NamedTuple):
    """What one side of a conversation says: its role, "system", "user" or "assistant", and the text."""

    role: str
    content: str


@dataclass(frozen=True)
class Pair:
    """A question and its answer as text, code in Markdown fences. `title` may be empty; question and answer are not.

    `earlier` is what was said before the question, if it is not the first of its conversation.
    """

    question_id: int
    title: str
    question: str
    answer: str
    tags: tuple[str, ...] = ()
    earlier: tuple[Message, ...] = ()

    @property
    def messages(self) -> tuple[Message, ...]:
        """All that is said before the answer; the title is the first paragraph of the question."""
        question = f"{self.title}\n\n{self.question}" if self.title else self.question
        return (*self.earlier, Message("user", question))


def prompt(pair: Pair) -> str:
    """What the model is given, without a chat template; `pair.answer` is what it is to write after it."""
    return "".join(
        f"Question: {text}{ANSWER_MARK}" if role == "user" else f"{text}\n\n" for role, text in pair.messages
    )


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


def tokenize(text: str, tokenizer, control: bool = False) -> list[int]:
    """Ids of plain text: the name of a special token inside a post stays text, unless `control` tokens are meant."""
    # Not verbose: the row is cut later, and a warning about its length would be wrong.
    return tokenizer(text, add_special_tokens=False, split_special_tokens=not control, verbose=False).input_ids


def end_token(tokenizer, chat_template: bool = False) -> int:
    """The id of the token that ends an answer: the end token, or what ends an assistant's turn in the chat template.

    Raises:
        DataError: the tokenizer has no end token.
        SettingError: it has no chat template.
    """
    if chat_template and (name := end_of_turn(tokenizer)):
        return tokenizer.convert_tokens_to_ids(name)
    if tokenizer.eos_token_id is None:
        raise DataError(
            "The tokenizer has no end token, so no answer could be taught to end.",
            'Name one of its tokens: tokenizer.eos_token = "...".',
        )
    return tokenizer.eos_token_id


def encode_prompt(pair: Pair, tokenizer, max_length: int, chat_template: bool = False) -> list[int]:
    """Ids of the prompt, at most `max_length`: of `prompt(pair)`, or of what the chat template makes of the messages.

    With `chat_template` they are those that `tokenizer.apply_chat_template(messages, add_generation_prompt=True)` gives
    for `pair.messages`, but for the names of control tokens inside a message, which stay text. A prompt that is too
    long loses the oldest questions with their answers, then the end of the last question.

    Raises:
        SettingError: the tokenizer has no chat template.
        DataError: the chat template refuses the conversation.
    """
    system = [m for m in pair.earlier if m.role == "system"]
    turns = pair.earlier[len(system) :]

    def parts(left_out: int, cut: bool = False) -> tuple[list[int], list[int]]:
        """Of the prompt without its `left_out` oldest questions: what may lose its end, and what follows on it."""
        shorter = replace(pair, earlier=(*system, *turns[2 * left_out :]))
        if chat_template:
            pieces = written(shorter.messages, tokenizer, cut)
        else:
            pieces = [Piece(prompt(shorter).removesuffix(ANSWER_MARK))], [Piece(ANSWER_MARK)]
        start, end = ([t for text, control in some for t in tokenize(text, tokenizer, control)] for some in pieces)
        return start, end

    def fits(left_out: int) -> bool:
        return sum(map(len, parts(left_out))) <= max_length

    start, end = parts(0)
    if len(start) + len(end) > max_length:
        most = len(turns) // 2
        fewest = bisect_left(range(most + 1), True, key=fits)
        start, end = parts(min(fewest, most), cut=fewest > most)
    return start[: max(0, max_length - len(end))] + end


def encode(pair: Pair, tokenizer, max_length: int, chat_template: bool = False) -> Example:
    """A pair as ids: prompt, answer, end token. Both parts are tokenised apart and joined as ids.

    A pair longer than `max_length` tokens first loses of its prompt, as in `encode_prompt`, down to half of
    `max_length`, then the end of its answer. A cut answer carries no end token, so that the model does not learn to
    stop there.

    Raises:
        DataError: `max_length` leaves no room for an answer, or the tokenizer has no end token.
        SettingError: with `chat_template`, the tokenizer has none.
    """
    answer = [*tokenize(pair.answer, tokenizer), end_token(tokenizer, chat_template)]
    room = max(max_length - len(answer), max_length // 2)
    start = encode_prompt(pair, tokenizer, room, chat_template)
    if len(start) >= max_length:
        raise DataError(f"A maximum length of {max_length} tokens leaves no room for an answer.", "Give at least 64.")
    return Example(tuple([*start, *answer][:max_length]), len(start), pair.question_id)


def encode_all(pairs: Sequence[Pair], tokenizer, max_length: int, chat_template: bool = False) -> list[Example]:
    """`encode` over pairs; those whose answer is empty are left out."""
    return [encode(pair, tokenizer, max_length, chat_template) for pair in pairs if pair.answer.strip()]


def swapped_questions(examples: Sequence[Example], max_length: int) -> tuple[list[Example], list[Example]]:
    """Examples as they are, and each with the question of the one before it, to see whether a model uses the question.

    Both lists have the same answers: those that are longer than `max_length` tokens with the other question, and the
    first example, are in neither.
    """
    own, other = [], []
    for before, example in pairwise(examples):
        question, answer = before.input_ids[: before.answer_start], example.input_ids[example.answer_start :]
        if len(question) + len(answer) <= max_length:
            own.append(example)
            other.append(Example((*question, *answer), before.answer_start, example.question_id))
    return own, other
