"""The fenced code blocks of a Markdown text."""

import re

FENCE = re.compile(r" {0,3}(`{3,})([^`]*)$")  # a line that opens a code block, or closes one as long or shorter


def code_blocks(text: str, closed: bool = False) -> list[str]:
    """The contents of a text's fenced code blocks, in order; with `closed`, without a last one that never ends."""
    blocks, _, is_open = _fenced(text)
    return blocks[:-1] if closed and is_open else blocks


def separate_code(text: str) -> tuple[list[str], str]:
    """A text's code and its prose: what `code_blocks` gives, and the lines outside the fences."""
    blocks, prose, _ = _fenced(text)
    return blocks, prose


def _fenced(text: str) -> tuple[list[str], str, bool]:
    """The code blocks of a text, its prose, and whether the last block is never closed."""
    blocks: list[list[str]] = []
    prose: list[str] = []
    fence = ""  # the one that opened the block being read
    for line in text.split("\n"):
        mark = FENCE.match(line)
        if fence and mark and len(mark[1]) >= len(fence) and not mark[2].strip():
            fence = ""
        elif fence:
            blocks[-1].append(line)
        elif mark:
            fence = mark[1]
            blocks.append([])
        else:
            prose.append(line)
    return ["\n".join(lines) for lines in blocks], "\n".join(prose), bool(fence)
