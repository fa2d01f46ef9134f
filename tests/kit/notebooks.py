"""Committed notebooks as text: their cells, with the headings that a link can lead to."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
GLOSSARY, CHEAT_SHEET = ROOT / "notebooks" / "glossary.md", ROOT / "notebooks" / "cheat_sheet.md"
MORE_MEMORY, MORE_RANK, MORE_LOW_RANK, MORE_FASTFOOD, MORE_ADAPTERS, MORE_CLINIC, MORE_FINETUNE = MORE = tuple(
    ROOT / "notebooks" / f"more_{name}.md"
    for name in ("memory", "rank", "low_rank", "fastfood", "adapters", "clinic", "finetune")
)
PAGES = [*NOTEBOOKS, CHEAT_SHEET, GLOSSARY, *MORE]  # what a reader gets


def cells(notebook: Path) -> list[dict]:
    """The notebook's cells, each source as one text."""
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in found]


def headings(notebook: Path) -> list[tuple[int, str]]:
    """Place of the cell and text of every heading, without the marks of Markdown, as a page shows it."""
    found = []
    for place, cell in enumerate(cells(notebook)):
        if cell["cell_type"] == "markdown":
            prose = re.sub(r"```.*?```", "", cell["source"], flags=re.DOTALL)
            found += [(place, plain(text)) for text in re.findall(r"^#{1,6} +(.+?) *#*$", prose, re.MULTILINE)]
    return found


def plain(markdown: str) -> str:
    """A line of Markdown without links, code marks and emphasis."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    return re.sub(r"[`*]", "", text)


def section(page: Path, heading: str) -> str:
    """What stands below a heading of a Markdown page."""
    return page.read_text("utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]


def table(page: Path, heading: str) -> list[list[str]]:
    """The cells of the first table in a section, without the table's head."""
    return [row.strip("| ").split(" | ") for row in re.findall(r"^\|.*\|$", section(page, heading), re.MULTILINE)[2:]]
