"""What a tokenizer's chat template makes of a conversation.

An instruct model was tuned on conversations in one fixed form, which its tokenizer keeps as a template (Jinja). The
template is rendered by `apply_chat_template` of Transformers, whose text can hold control tokens: those are the
template's own. Where a message names one, it is to stay text, so that nobody can end a turn by writing about it. Such
a name is hidden from the template and tokenised apart.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from lorabook.errors import DataError, SettingError

NAME, CUT = "\0", "\1"  # stand in for a hidden name and for an end; no clean text holds control characters
FORBIDDEN = re.compile(f"[{NAME}{CUT}]")


class Piece(NamedTuple):
    """A piece of text, and whether the names of control tokens in it are meant as such."""

    text: str
    control: bool = False


def written(messages: Sequence[tuple[str, str]], tokenizer, cut: bool = False) -> tuple[list[Piece], list[Piece]]:
    """What the template writes for `messages`, pairs of role and text, up to where the assistant's answer begins.

    Everything is in the first list; with `cut`, what comes after the last message's text is in the second.

    Raises:
        SettingError: the tokenizer has no chat template.
        DataError: the template refuses the conversation.
    """
    names, hidden = _control_tokens(tokenizer), []

    def hide(name: re.Match) -> str:
        hidden.append(name[0])
        return f"{NAME}{len(hidden) - 1}{NAME}"

    told = [{"role": role, "content": names.sub(hide, FORBIDDEN.sub("", text))} for role, text in messages]
    told[-1]["content"] += CUT if cut else ""
    start, _, end = _rendered(told, tokenizer, answer_next=True).partition(CUT)

    def pieces(text: str) -> list[Piece]:
        return [
            Piece(hidden[int(part)]) if i % 2 else Piece(part, control=True)
            for i, part in enumerate(text.split(NAME))
            if part
        ]

    return pieces(start), pieces(end)


def end_of_turn(tokenizer) -> str | None:
    """The first control token that the template writes after an answer, which ends it; None where it writes none.

    Raises what `written` raises.
    """
    asked = [{"role": "user", "content": "question"}, {"role": "assistant", "content": CUT}]
    after = _rendered(asked, tokenizer, answer_next=False).partition(CUT)[2]
    found = _control_tokens(tokenizer).search(after)
    return found and found[0]


def _control_tokens(tokenizer) -> re.Pattern:
    """Matches the name of a control token, the longest where one begins another."""
    names = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or "(?!)")


def _rendered(messages: list[dict[str, str]], tokenizer, answer_next: bool) -> str:
    if not tokenizer.chat_template:
        raise SettingError(
            "The tokenizer of this model has no chat template.",
            "Do without: the prompt is then plain text. Or take a model tuned on conversations, such as smollm2.",
        )
    try:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer_next)
    except Exception as error:  # whatever a stranger's template raises
        raise DataError(
            f"The chat template refuses a conversation: {str(error)[:200]}.",
            "Leave out what it does not take, such as the system's message.",
        ) from error
