"""What the site makes of README, notebooks and docstrings before Sphinx sees them."""

import json
import re
from types import ModuleType, SimpleNamespace

import pytest

from scripts.notebooks import site
from scripts.notebooks.badges import Place
from tests.kit.notebooks import NOTEBOOKS, ROOT, cells
from tests.notebooks.test_links import anchors, relative_links

HERE, NOWHERE = Place("owner/name", False), Place("", False)
README = (ROOT / "README.md").read_text(encoding="utf-8")


def shown(*more: dict, place: Place = NOWHERE) -> list[dict]:
    """The cells that the site shows of a notebook with a title, a first cell and `more`."""
    title = {"cell_type": "markdown", "metadata": {}, "source": HERE.in_title("# Title\n\nText.", "a.ipynb")}
    first = {"cell_type": "code", "metadata": {}, "source": ["setup()"], "outputs": []}
    return json.loads(site.as_page(json.dumps({"cells": [title, first, *more]}), "a.ipynb", place))["cells"]


@pytest.mark.parametrize("place", [HERE, NOWHERE], ids=["published", "not published"])
def test_the_first_page_is_of_readme_and_leads_to_every_notebook(place):
    page = site.front_page(place.in_readme(README))
    targets = re.findall(r"\]\(([^)\s]+)\)", page)
    assert {path.name for path in NOTEBOOKS} <= set(targets)
    assert [target for target in targets if "/" in target] == []


def test_badges_are_left_out_and_the_first_cell_is_folded():
    title, first = shown(place=HERE)
    assert title["source"] == "# Title\n\nText."
    assert first["metadata"]["tags"] == ["hide-input"]


def test_nbval_s_comment_and_an_explorer_s_name_are_left_out():
    name = {"output_type": "execute_result", "data": {"text/plain": ["RankExplorer()"]}}
    kept = {"output_type": "execute_result", "data": {"text/plain": ["Rank()"]}}
    source = ["# NBVAL_IGNORE_OUTPUT\n", "explorer"]
    *_, cell = shown({"cell_type": "code", "metadata": {}, "source": source, "outputs": [name, kept]})
    assert cell["source"] == "explorer" and cell["outputs"] == [kept]


def test_a_file_of_the_repository_is_linked_where_it_is_published():
    cell = {"cell_type": "markdown", "metadata": {}, "source": ["See [it](../lorabook/lora.py) and [b](b.ipynb#C)."]}
    assert shown(cell)[-1]["source"] == "See it and [b](b.ipynb#C)."
    address = "https://github.com/owner/name/blob/main/lorabook/lora.py"
    assert shown(cell, place=HERE)[-1]["source"] == f"See [it]({address}) and [b](b.ipynb#C)."


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_link_between_notebooks_has_the_anchor_that_the_site_gives(notebook):
    for link in relative_links(notebook):
        name, _, fragment = link.partition("#")
        if fragment:
            headings = anchors(ROOT / "notebooks" / name) if name else anchors(notebook)
            assert fragment in {site.jupyter_anchor(heading.replace("-", " ")) for heading in headings}


def test_there_are_buttons_where_there_are_badges():
    assert site.launch_buttons("a.ipynb", NOWHERE) == []
    buttons = site.launch_buttons("a.ipynb", HERE)
    assert [b["text"] for b in buttons] == ["Open In Colab", "Open in Kaggle", "Open in Binder"]
    assert all("owner/name" in b["url"] and b["url"].endswith("a.ipynb") for b in buttons)


def test_an_indented_block_is_code_and_a_section_is_not():
    text = ["Sum.", "", "    first = 1", "", "    second = 2", "", "Args:", "    a: of the", "        first", ""]
    assert list(site.literal_blocks(text)) == [*text[:2], "::", "", *text[2:]]


def test_a_package_says_what_can_be_imported_from_it():
    package = ModuleType("shop")
    assert list(site.exports(package)) == []
    vars(package).update(__path__=[], __all__=["Bread"], Bread=SimpleNamespace(__module__="shop.oven"))
    assert ":py:obj:`Bread <shop.oven.Bread>`" in "".join(site.exports(package))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_equation_becomes_mathml(notebook):
    pytest.importorskip("docutils")
    for cell in cells(notebook):
        for tex in re.findall(r"\$\$(.+?)\$\$", cell["source"], re.DOTALL) if cell["cell_type"] == "markdown" else ():
            assert site.mathml(tex, block=True).startswith("<math")
