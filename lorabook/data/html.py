"""The HTML of a StackOverflow post as plain text, its code kept character for character in Markdown fences.

The tree that BeautifulSoup builds is read as one flat sequence of elements, never recursively, so a post nested ten
thousand deep costs no more than a long one. (markdownify recurses, and changes white space
at the ends of lines of code in 6% of real posts.)
"""

import re

from bs4 import BeautifulSoup
from bs4.element import NavigableString, Tag

from lorabook.data.fences import FENCE
from lorabook.errors import DataError

HTML_LIMIT = 200_000  # characters; StackOverflow's own limit is 30,000 characters of Markdown

BLOCKS = frozenset(
    {
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "figure",
        "footer",
        "form",
    }
    | {"h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "html", "li", "main", "nav", "ol", "p", "pre", "section"}
    | {"summary", "table", "tbody", "tfoot", "thead", "tr", "ul"}
)
DROPPED = frozenset({"head", "iframe", "noscript", "object", "script", "style", "svg", "template", "title"})
DEEPEST = 4  # indents and quotes stop here, so that deep nesting cannot make the text longer than the post

# html.parser takes quadratic time on thousands of tags that never end, and raises on some declarations. So each "<"
# that does not start an ordinary tag becomes "&lt;" first; a sound post has none.
_STRAY = re.compile(r"<(?!/?[a-zA-Z][^<>]{0,2000}>)")
_SPACE = re.compile(r"\s+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    r"""Text without control characters: \r\n and \r become \n, only \n and \t stay, a lone surrogate becomes U+FFFD."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _SURROGATE.sub("\ufffd", _CONTROL.sub("", text))


def html_to_text(html: str) -> str:
    """Convert a post's HTML body to text; empty if nothing of it can be read.

    `<pre>` becomes a fenced block at the left margin, one backtick longer than any run inside it, with indentation
    kept and entities unescaped once; blank lines at its two ends go. Inline `<code>` takes backticks, list items "- ",
    quotes "> ", headings "#", `<hr>` "---"; links and emphasis keep their text; images, scripts, styles and comments
    (HTML's and the page's `comment-copy` spans) are dropped. Outside code, white space collapses and one blank line
    separates paragraphs. Text that would read as a fence gets a backslash.

    Raises DataError if `html` is longer than HTML_LIMIT characters.
    """
    if len(html) > HTML_LIMIT:
        raise DataError(
            f"The HTML has {len(html):,} characters, over the limit of {HTML_LIMIT:,}.",
            "Leave this post out or shorten it.",
        )
    markup = _STRAY.sub("&lt;", _without_comments(html))
    soup = BeautifulSoup("\n" + markup, "html.parser")  # "\n": a body of one word must not look like a file name
    writer, open_tags = _Writer(), []
    for node in soup.descendants:
        while open_tags and open_tags[-1] is not node.parent:
            writer.end(open_tags.pop())
        if isinstance(node, Tag):
            writer.start(node)
            open_tags.append(node)
        elif isinstance(node, NavigableString):
            writer.text(clean(node))
    while open_tags:
        writer.end(open_tags.pop())
    writer.flush()
    return "".join(writer.parts)


def _without_comments(html: str) -> str:
    """Drop `<!-- … -->` in linear time; a comment that never ends stays as text."""
    before, *rest = html.split("<!--")
    return before + "".join(part.partition("-->")[2] if "-->" in part else "<!--" + part for part in rest)


def _ticks(code: str, least: int) -> str:
    """A run of backticks longer than any inside `code`, and at least `least` long."""
    longest = max((len(run) for run in re.findall("`+", code)), default=0)
    return "`" * max(least, longest + 1)


class _Writer:
    """Turns start, text and end events into `parts`, whose join is the finished text."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.line: list[str] = []  # pieces of the paragraph being written
        self.code: list[str] = []  # strings of the code element being read
        self.owner: Tag | None = None  # that element, <pre> or <code>
        self.dropped: Tag | None = None  # the dropped element being read
        self.quotes = self.lists = 0  # how many are open
        self.heading = ""  # "## " while in <h2>
        self.bullet = False  # the next paragraph starts a list item
        self.rule = False  # a <hr> waits for something to stand above
        self.in_list = False  # the last paragraph belonged to a list

    def start(self, tag: Tag) -> None:
        if self.dropped is not None:
            return
        if tag.name in DROPPED or "comment-copy" in (tag.get("class") or ()):
            self.dropped = tag
        elif self.owner is not None and self.owner.name == "pre":
            if tag.name == "br":
                self.code.append("\n")
        elif tag.name in BLOCKS:
            self.finish_code()
            self.start_block(tag.name)
            self.owner = tag if tag.name == "pre" else None
        elif self.owner is not None:
            return
        elif tag.name == "code":
            self.owner = tag
        elif tag.name == "br":
            self.line.append("\n")
        elif tag.name in ("td", "th") and self.line:
            self.line.append(" | ")
        elif tag.name == "sup" and self.line and (self.line[-1][-1].isalnum() or self.line[-1][-1] in ")]`"):
            self.line.append("^")

    def start_block(self, name: str) -> None:
        self.flush()
        self.quotes += name == "blockquote"
        self.lists += name in ("ul", "ol")
        self.bullet = self.bullet or name == "li"
        self.rule = self.rule or name == "hr"
        if name in ("h1", "h2", "h3", "h4", "h5", "h6"):
            self.heading = "#" * int(name[1]) + " "

    def end(self, tag: Tag) -> None:
        if self.dropped is not None:
            self.dropped = None if tag is self.dropped else self.dropped
            return
        if tag is self.owner:
            self.finish_code()
        elif self.owner is not None and self.owner.name == "pre":
            return
        if tag.name in BLOCKS:
            self.finish_code()
            self.flush()
            self.quotes -= tag.name == "blockquote"
            self.lists -= tag.name in ("ul", "ol")
            self.heading = ""
            self.bullet = self.bullet and tag.name != "li"

    def text(self, text: str) -> None:
        if self.dropped is not None:
            return
        if self.owner is not None:
            self.code.append(text)
            return
        text = _SPACE.sub(" ", text)
        if not self.line or self.line[-1][-1].isspace():
            text = text.lstrip()
        if text:
            self.line.append(text)

    def finish_code(self) -> None:
        if self.owner is None:
            return
        code, block = "".join(self.code), self.owner.name == "pre"
        self.owner, self.code = None, []
        if not code.strip():
            return
        if block:
            fence, code = _ticks(code, 3), code.strip("\n")
            self.add(f"{fence}\n{code}\n{fence}")
        else:
            code = re.sub(r"\s*\n\s*", " ", code).strip()
            ticks = _ticks(code, 1)
            pad = " " if code[0] == "`" or code[-1] == "`" else ""
            self.line.append(ticks + pad + code + pad + ticks)

    def flush(self) -> None:
        """Finish the paragraph: its lines stripped, then prefixed by its heading, bullet and quotes."""
        text = "\n".join(line.strip() for line in "".join(self.line).split("\n")).strip()
        self.line = []
        if not text:
            return
        lines = re.sub(r"\n{3,}", "\n\n", text).split("\n")
        lines = ["\\" + line if FENCE.match(line) else line for line in lines]
        quote, listed = "> " * min(self.quotes, DEEPEST), self.bullet or self.lists > 0
        indent = "  " * (min(self.lists, DEEPEST) - 1)
        first = quote + indent + ("- " if self.bullet else "  " if listed else "") + self.heading
        later = quote + indent + ("  " if listed else "")
        prefixes = [first] + [later] * (len(lines) - 1)
        together = self.bullet and self.in_list
        self.add("\n".join((p + line).rstrip() for p, line in zip(prefixes, lines, strict=True)), together)
        self.in_list = listed

    def add(self, block: str, together: bool = False) -> None:
        """Append a block after a blank line, or right under the block before it."""
        if self.rule and self.parts:
            self.parts.append("\n\n---")
            together = False
        if self.parts:
            self.parts.append("\n" if together else "\n\n")
        self.parts.append(block)
        self.rule = self.bullet = self.in_list = False
