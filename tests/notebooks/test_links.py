"""The notebooks as one book: links lead where they say, all end alike, and the glossary's words are where it says."""

import re
from pathlib import Path

import pytest

from tests.kit.notebooks import GLOSSARY, NOTEBOOKS, PAGES, ROOT, cells, headings, plain

LINKING = [*PAGES, *sorted(ROOT.glob("*.md")), ROOT / "lorabook/assets/pocket/README.md"]
EACH = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def texts(page: Path) -> list[str]:
    """The Markdown of a page: of a notebook its cells and what they display."""
    if page.suffix == ".md":
        return [page.read_text(encoding="utf-8")]
    shown = [
        o["data"]["text/markdown"]
        for c in cells(page)
        for o in c.get("outputs", ())
        if "text/markdown" in o.get("data", ())
    ]
    return [c["source"] for c in cells(page) if c["cell_type"] == "markdown"] + ["".join(text) for text in shown]


def relative_links(page: Path) -> list[str]:
    code = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
    targets = [t for text in texts(page) for t in re.findall(r"\]\(([^)\s]+)\)", code.sub("", text))]
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def slug(heading: str) -> str:
    """A heading's anchor on GitHub: in lower case and bare."""
    return re.sub(r"[^\w\- ]", "", plain(heading).lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """What may stand behind a #: in JupyterLab a heading with hyphens for spaces, of a .md page its slug."""
    if page.suffix == ".ipynb":
        return {text.replace(" ", "-") for _, text in headings(page)}
    return {slug(heading) for heading in re.findall(r"^#{1,6} +(.+)$", page.read_text("utf-8"), re.MULTILINE)}


def section_of(page: Path, fragment: str) -> str:
    """The text below a heading, up to the next one."""
    if page.suffix == ".md":
        parts = [part.partition("\n") for part in re.split(r"^#+ +", page.read_text("utf-8"), flags=re.MULTILINE)[1:]]
        return next(body for heading, _, body in parts if slug(heading) == fragment)
    place = next(place for place, text in headings(page) if text.replace(" ", "-") == fragment)
    later = [other for other, _ in headings(page) if other > place]
    # The cell of the next heading often begins with the end of this section.
    return " ".join(c["source"] for c in cells(page)[place : later[0] + 1 if later else None])


def faults(page: Path) -> list[str]:
    found = []
    for link in relative_links(page):
        name, _, fragment = link.partition("#")
        target = (page.parent / name) if name else page
        if not target.exists():
            found.append(f"{link}: there is no such file")
        elif fragment and fragment not in anchors(target):
            found.append(f"{link}: there is no such heading")
        elif not re.fullmatch(r"[\w?',:=.-]*", fragment, re.ASCII):
            found.append(f"{link}: JupyterLab does not find a heading with such signs")
    return found


@pytest.mark.parametrize("page", LINKING, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    assert faults(page) == []


def test_links_are_found_and_their_faults_too(tmp_path):
    (tmp_path / "there.md").write_text("# A *title*, here\n", encoding="utf-8")
    page = tmp_path / "page.md"
    links = "[a](there.md#a-title-here) [b](there.md#b) [c](gone.md) [d](#d) `[e](e)` [f](https://f) [g](#δ)"
    page.write_text(f"{links}\n# D\n# Δ\n", encoding="utf-8")
    assert [fault.split(":")[0] for fault in faults(page)] == ["there.md#b", "gone.md", "#δ"]


@EACH
def test_no_heading_stands_twice(notebook):
    """Or a link could not tell them apart. The clinic's sub-sections repeat under eight cases."""
    found = [text for _, text in headings(notebook) if text != "Fix it, live"]
    assert [text for text in found if found.count(text) > 1] == []


@EACH
def test_it_ends_with_summary_exercises_and_where_to_go_next_before_what_is_optional(notebook):
    prose = "\n".join(c["source"] for c in cells(notebook) if c["cell_type"] == "markdown")
    sections = re.findall(r"^## (.+)$", prose, re.MULTILINE)
    end = sections.index("Where to go next") + 1
    assert sections[:end][-3:] == ["Summary", "Exercises", "Where to go next"]
    assert all(section.startswith("Going deeper: ") for section in sections[end:])
    assert not any(section.startswith("Going deeper") for section in sections[:end])


@EACH
def test_below_its_title_it_leads_to_the_notebooks_before_and_after(notebook):
    place, first = NOTEBOOKS.index(notebook), next(iter(cells(notebook)))["source"]
    line = next(line for line in first.splitlines() if line.startswith(("←", "[")) and not line.startswith("[!["))
    beside = [NOTEBOOKS[i] for i in (place - 1, place + 1) if 0 <= i < len(NOTEBOOKS)]
    assert re.findall(r"\]\(([^)]+)\)", line) == [other.name for other in beside]
    assert line.startswith("←") == (place > 0) and line.endswith("→") == (place < len(NOTEBOOKS) - 1)
    for other, label in zip(beside, re.findall(r"\[([^\]]+)\]", line)):
        assert next(iter(cells(other)))["source"].startswith(f"# {label}")


@EACH
def test_it_links_forward_or_back(notebook):
    linked = {link.partition("#")[0] for link in relative_links(notebook)} - {"", notebook.name}
    assert linked & {other.name for other in NOTEBOOKS}


@EACH
def test_another_notebook_is_named_with_a_link(notebook):
    prose = [re.sub(r"\[[^\]]*\]\([^)]*\)", "", text) for text in texts(notebook)]
    assert [m for text in prose for m in re.findall(r"\b[Nn]otebooks? 0\d", text)] == []


# The glossary


def glossary() -> list[tuple[str, str]]:
    """(word, link) of every row."""
    table = GLOSSARY.read_text(encoding="utf-8")
    return re.findall(r"^\| ([^|]+) \|[^|]*\|[^|]+\| \[\d\d\]\(([^)]+)\) \|$", table, re.MULTILINE)


def test_the_glossary_is_in_order_and_whole():
    words = [plain(word).lower() for word, _ in glossary()]
    assert len(words) > 40 and words == sorted(words)


@pytest.mark.parametrize(("word", "link"), glossary(), ids=[word for word, _ in glossary()])
def test_a_word_of_the_glossary_stands_in_the_section_that_it_leads_to(word, link):
    name, _, fragment = link.partition("#")
    section = plain(section_of(ROOT / "notebooks" / name, fragment)).lower()
    missing = [part for part in plain(word).lower().split(", ") if part.removesuffix("s") not in section]
    assert missing == []
