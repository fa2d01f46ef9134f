"""Pairs from rows of one's own: a question with its answer, or a conversation in `messages`.

Such rows need no ids. All pairs of a row bear the number of that row, so that a split keeps them on one side.
"""

from collections.abc import Mapping
from typing import Any, TypeGuard

from lorabook.data.examples import Message, Pair
from lorabook.data.markup import Markup, RowError, one_line
from lorabook.errors import shown

ROLES = ("system", "user", "assistant")
OWN, STACKOVERFLOW = {"question", "answer", "messages"}, {"question_body", "answer_body"}
MOST_MESSAGES = 1000  # of a conversation: each of its pairs holds all that was said before


def is_own(record: object) -> TypeGuard[dict[str, Any]]:
    """Whether a record has one of the columns of such rows, and none of StackOverflow's."""
    return isinstance(record, dict) and bool(record.keys() & OWN) and not record.keys() & STACKOVERFLOW


def own_pairs(record: Mapping[str, Any], number: int, markup: Markup) -> list[Pair]:
    """The pairs of row `number`: of `question` and `answer` with an optional `title`, or of `messages`.

    `messages` are [{"role": …, "content": …}, …] as TRL reads them: a system's message or none, then a user's and an
    assistant's in turn. Every answer of the assistant becomes a pair, with all that was said before as its prompt. So
    every answer is trained on, as by TRL's `assistant_only_loss`. What follows the last answer is left out.

    Raises:
        RowError: a text is missing, empty or too long; a role is none of ROLES, or out of turn; there is no answer.
    """
    if record.get("messages") is not None:
        return _conversation(record["messages"], number, markup)
    question, answer = (markup.text(name, record.get(name)) for name in ("question", "answer"))
    return [Pair(number, one_line(record.get("title")), question, answer)]


def _conversation(messages: object, number: int, markup: Markup) -> list[Pair]:
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise RowError("messages is no list of messages", shown(messages))
    if len(messages) > MOST_MESSAGES:
        raise RowError("the conversation is too long", f"{len(messages):,} messages")
    said: list[Message] = []
    pairs: list[Pair] = []
    for message in messages:
        role = message.get("role")
        if role not in ROLES:
            raise RowError(f"a role is none of {', '.join(ROLES)}", shown(role))
        due = "user" if not said or said[-1].role != "user" else "assistant"
        if role != due and (role != "system" or said):
            raise RowError("user and assistant do not take turns", f"{role} where it is {due}'s turn")
        said.append(Message(role, markup.text("content", message.get("content"))))
        if role == "assistant":
            pairs.append(Pair(number, "", said[-2].content, said[-1].content, earlier=tuple(said[:-2])))
    if not pairs:
        raise RowError("the assistant says nothing", f"{len(said)} messages")
    return pairs
