"""The final notebook in JupyterLab, in a real browser."""

import pytest

from scripts.notebooks.browser import copy_blank, find_chromium, jupyterlab, notebook_page
from tests.kit.notebooks import NOTEBOOKS, cells

FINAL = NOTEBOOKS[-1]
pytestmark = pytest.mark.browser


def test_the_final_notebook_runs_from_the_menu(tmp_path):
    """Open, Run All Cells, wait for the last run: no error, the live plot is drawn and redrawn.

    Training is short and on fewer examples, without its answers, and what follows is left out. nbval runs all of it.
    """
    chromium, notebooks = find_chromium(), tmp_path / "notebooks"
    notebooks.mkdir()
    run = ["prepare(choose(), lora)" in cell["source"] for cell in cells(FINAL)].index(True)
    copy = copy_blank(FINAL, notebooks, lambda index, cell: index <= run)
    short = copy.read_text("utf-8")
    few = "few = replace(few, rows=80, training=replace(few.training, steps=4, evaluate_every=2, log_every=2))"
    for written, instead in (
        ("steps=60)", "steps=2)"),
        (
            "run = prepare(choose(), lora)",
            f"few = choose(); {few}; run = prepare(few, lora)",
        ),
        ("from lorabook.training.loop import", "from dataclasses import replace; from lorabook.training.loop import"),
        ('"ten_answers(run)\\n"', '"pass\\n"'),
    ):
        assert short.count(written) == 1, written
        short = short.replace(written, instead)
    copy.write_text(short, "utf-8")
    with jupyterlab(notebooks, tmp_path / "own") as lab, notebook_page(lab, chromium, FINAL.name) as notebook:
        notebook.run_all(400)
        plot = notebook.page.locator(".jp-OutputArea .jp-RenderedImage img").last
        plot.scroll_into_view_if_needed()
        assert plot.evaluate("image => image.naturalWidth") > 300
        assert notebook.problems == []
