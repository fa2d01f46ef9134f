"""Every table in README.md or benchmarks/README.md is that of the stored results."""

import pytest

from scripts.checks import tables


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda p: p.parent.name + "/" + p.name)
def test_every_table_is_made_from_the_results(page):
    text = page.read_text(encoding="utf-8")
    assert text.count("<!-- table: ") == len(tables.PLACE.findall(text)) > 0
    assert tables.filled(text) == text, "run `make tables`"


def test_a_figure_changed_by_hand_is_noticed():
    page = tables.PAGES[1].read_text(encoding="utf-8")
    place = tables.PLACE.search(page)
    assert place and "\n| fp32" in place[0]
    forged = page.replace("\n| fp32", "\n| fp64", 1)
    assert tables.filled(forged) == page != forged


def test_a_cell_s_bar_does_not_end_the_cell():
    assert tables.markdown(("a",), [("x | y",)]) == "| a |\n| --- |\n| x \\| y |\n"
