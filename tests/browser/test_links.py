"""A link of the book in JupyterLab: it opens the other notebook, and leads to its section once that is open."""

import shutil

import pytest

from scripts.notebooks.browser import PANEL, find_chromium, jupyterlab, notebook_page
from tests.kit.notebooks import NOTEBOOKS

pytestmark = pytest.mark.browser

START, OTHER = "04_low_rank_updates.ipynb", "03_rank_and_alpha.ipynb"
HEADING = "A rule"


def test_a_link_leads_to_the_section_of_another_notebook(tmp_path):
    find_chromium()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "lab").mkdir()
    for path in NOTEBOOKS:
        if path.name in (START, OTHER):
            shutil.copy(path, tmp_path / "notebooks")
    with (
        jupyterlab(tmp_path / "notebooks", tmp_path / "lab") as lab,
        notebook_page(lab, find_chromium(), START) as notebook,
    ):
        link = notebook.page.locator(f"a[href*='{OTHER}'][href$='#{HEADING.replace(' ', '-')}']").first
        link.click()
        notebook.wait_for(shown(OTHER), 60)
        open_again(notebook, START)
        link.click()
        notebook.wait_for(shown(OTHER, HEADING), 60)
        assert notebook.problems == []
        open_again(notebook, START)  # whose kernel ends with the page


def open_again(notebook, name: str) -> None:
    notebook.page.evaluate(f"() => {{ window.jupyterapp.commands.execute('docmanager:open', {{path: '{name}'}}); }}")
    notebook.wait_for(shown(name), 20)


def shown(name: str, heading: str = "") -> str:
    """JavaScript: whether notebook `name` is in front, with `heading`, if given, in the upper half of its view."""
    return f"""() => {{
        const panel = {PANEL};
        if (panel?.title.label !== '{name}' || !panel.content.model?.cells.length) return false;
        const view = panel.node.getBoundingClientRect();
        const inView = [...panel.node.querySelectorAll('h2, h3')].filter(heading => {{
            const box = heading.getBoundingClientRect();
            return box.height > 0 && box.top >= view.top && box.top < view.top + view.height / 2;
        }});
        return !'{heading}' || inView.some(found => found.textContent.startsWith('{heading}'));
    }}"""
