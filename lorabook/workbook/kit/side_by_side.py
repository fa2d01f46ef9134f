"""Texts in columns, to compare what two models wrote."""

import html
from collections.abc import Sequence
from itertools import groupby

CELL = "text-align: left; vertical-align: top; padding: 8px; width: 50%"
TEXT = "font: 13px/1.4 monospace; overflow-x: auto; white-space: "


def short(text: str) -> str:
    """`text` with a paragraph that repeats many times in a row shown twice, and how often it came again."""
    found = []
    for paragraph, run in groupby(text.split("\n\n")):
        times = len(list(run))
        found += [paragraph] * min(times, 2) + [f"(… and {times - 2} times more)"] * (times > 3)
        found += [paragraph] * (times == 3)
    return "\n\n".join(found)


def side_by_side(
    headings: tuple[str, str],
    rows: Sequence[tuple[str, str, str]],
    longest: int = 500,
    wrap: bool = True,
    folded: str = "",
) -> None:
    """Display pairs of texts in two columns, each pair below its title.

    Args:
        headings: of the two columns.
        rows: title, left text, right text.
        longest: characters after which a text is cut.
        wrap: whether long lines are broken; code is scrolled instead, to keep its indents.
        folded: what to click on to see them; as plain text, nothing else is shown then.
    """
    from IPython.display import display

    def cut(text: str) -> str:
        text = short(text)
        return text if len(text) <= longest else text[:longest].rstrip() + " …"

    table, page = [], []
    for title, *texts in rows:
        page.append(f"**{title}**")
        table.append(f'<tr><th colspan="2" style="text-align: left">{html.escape(title)}</th></tr>')
        style = TEXT + ("pre-wrap" if wrap else "pre")
        cells = (
            f'<i>{heading}</i><div style="{style}">{html.escape(cut(text))}</div>'
            for heading, text in zip(headings, texts)
        )
        table.append("<tr>" + "".join(f'<td style="{CELL}">{cell}</td>' for cell in cells) + "</tr>")
        for heading, text in zip(headings, texts):
            quoted = "\n".join(f"> {line}" for line in cut(text).splitlines())
            page.append(f"*{heading}*\n\n{quoted}")
    columns = f"<table style='width: 100%; table-layout: fixed'>{''.join(table)}</table>"
    text = "\n\n".join(page)
    if folded:
        columns = f"<details><summary>{html.escape(folded)}</summary>{columns}</details>"
        text = f"*({folded}: run this cell to read them)*"
    display({"text/html": columns, "text/markdown": text, "text/plain": text}, raw=True)
