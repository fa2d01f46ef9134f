"""The final notebook in JupyterLab, in a real browser."""

import pytest

from scripts.notebooks.browser import copy_blank, find_chromium, jupyterlab, notebook_page
from tests.kit.notebooks import NOTEBOOKS, cells

FINAL = NOTEBOOKS[-1]
pytestmark = pytest.mark.browser


def test_the_final_notebook_runs_from_the_menu(tmp_path):
    """Open, Run All Cells, wait for the last cell: no error, the live plot is drawn and redrawn.

    Training is short and on fewer examples, and what follows it is left out. nbval runs all of it.
    """
    chromium, notebooks = find_chromium(), tmp_path / "notebooks"
    notebooks.mkdir()
    trained = [cell.get("id") == "run-u" for cell in cells(FINAL)].index(True)
    copy = copy_blank(FINAL, notebooks, lambda index, cell: index < trained)
    short = copy.read_text("utf-8")
    chosen = "run = choose()"
    assert short.count(chosen) == 1
    few = "from dataclasses import replace; few = replace(run.training, steps=4, evaluate_every=2, log_every=2)"
    short = short.replace(chosen, f"{chosen}; {few}; run = replace(run, training=few, rows=80)")
    assert short.count("steps=40)") == 2
    short = short.replace("steps=40)", "steps=2)")
    copy.write_text(short, "utf-8")
    with jupyterlab(notebooks, tmp_path / "own") as lab, notebook_page(lab, chromium, FINAL.name) as notebook:
        notebook.run_all(400)
        plot = notebook.page.locator(".jp-OutputArea .jp-RenderedImage img").last
        plot.scroll_into_view_if_needed()
        assert plot.evaluate("image => image.naturalWidth") > 300
        assert notebook.problems == []
