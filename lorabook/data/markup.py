"""The text of a row's field, whether it is written in HTML or in Markdown.

Markdown and plain text are kept as they are. Reading them as HTML would lose every line break, and what stands between
"<" and ">" in their code. So one decision is made for a whole source, from what is in its first rows.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lorabook.data.fences import separate_code
from lorabook.data.html import HTML_LIMIT, clean, html_to_text
from lorabook.errors import DataError, SettingError, shown

FORMATS = ("auto", "html", "markdown")
LOOKED_AT = 200  # rows from whose texts the format is told
BODIES = ("question_body", "answer_body", "question", "answer")

_CLOSED = re.compile(
    r"</(?:a|b|blockquote|code|div|em|h[1-6]|i|li|ol|p|pre|span|strong|t[dhr]|table|ul)>", re.IGNORECASE
)
_CODE = re.compile(r"(?<!`)(`{1,2})(?!`)[^\n]+?(?<!`)\1(?!`)|^(?: {4}|\t)[^\n]*", re.MULTILINE)


class RowError(DataError):
    """A row that no pair can be made of; `reason` is the heading under which `load` counts it."""

    def __init__(self, reason: str, seen: str):
        super().__init__(f"This row cannot be used, since {reason} ({seen}).", "Leave it out, as load() does.")
        self.reason = reason


@dataclass(frozen=True)
class Markup:
    """Whether the texts of a source are HTML, and why they are taken for what they are."""

    is_html: bool
    reason: str

    @classmethod
    def of(cls, text_format: str, records: Sequence[Mapping[str, Any] | str]) -> "Markup":
        """What `text_format` says, or for "auto" what the records show.

        HTML, where at least half of their questions and answers close one of its tags outside of Markdown's code. The
        messages of a conversation are never taken for HTML unasked.

        Raises:
            SettingError: `text_format` is none of FORMATS.
        """
        if text_format not in FORMATS:
            raise SettingError(f"The text format is {text_format!r}.", f"Give one of {', '.join(FORMATS)}.")
        if text_format != "auto":
            return cls(text_format == "html", "as asked")
        values = [record.get(name) for record in records if isinstance(record, Mapping) for name in BODIES]
        texts = [value for value in values if isinstance(value, str) and value.strip()]
        if not texts:
            return cls(False, "as messages always are")
        found = sum(has_tags(text) for text in texts)
        return cls(2 * found >= len(texts), f"since {found} of the first {len(texts)} texts contain HTML tags")

    def __str__(self) -> str:
        return f"{'HTML' if self.is_html else 'Markdown or plain text'}, {self.reason}"

    def text(self, name: str, value: object) -> str:
        """The text of the field `name`: HTML as `html_to_text` converts it; else as it is.

        Control characters and blank lines at its two ends go.

        Raises:
            RowError: it is missing, not text, longer than HTML_LIMIT, or empty.
        """
        written = given_text(name, value)
        text = html_to_text(written) if self.is_html else clean(written).strip("\n")
        if not text.strip():
            raise RowError(f"{name} holds no text", shown(written[:40]))
        return text


def given_text(name: str, value: object) -> str:
    """`value`, of the field `name`. Raises RowError where it is missing, not text, or longer than HTML_LIMIT."""
    if value is None:
        raise RowError(f"{name} is missing", "nothing is there")
    if not isinstance(value, str):
        raise RowError(f"{name} is not text", shown(value))
    if len(value) > HTML_LIMIT:
        raise RowError(f"{name} is too long", f"{len(value):,} characters, over the limit of {HTML_LIMIT:,}")
    return value


def one_line(title: object) -> str:
    """A title, which may be missing, on one line. Raises RowError where it is not text or longer than HTML_LIMIT."""
    return "" if title is None else " ".join(clean(given_text("title", title)).split())


def has_tags(text: str) -> bool:
    """Whether a text closes one of HTML's tags outside of Markdown's code: fenced, between backticks, or indented."""
    return bool(_CLOSED.search(_CODE.sub("", separate_code(text[:HTML_LIMIT])[1])))
