"""Every explorer in JupyterLab, in a real browser, moved by the keyboard alone: what it shows is what the kernel says.

The notebooks' own cells with an explorer are run, all in one page with one kernel.
"""

import json
import re

import nbformat
import pytest

from lorabook.workbook import explorers
from scripts.notebooks.browser import NotebookPage, find_chromium, jupyterlab, notebook_page
from tests.kit.notebooks import NOTEBOOKS, cells

pytestmark = pytest.mark.browser
MADE = re.compile(r"^explorer = (\w+Explorer)\(\)$", re.MULTILINE)
SOURCES = [cell["source"] for path in NOTEBOOKS for cell in cells(path) if MADE.search(cell["source"])]
NAMES = [MADE.findall(source)[0] for source in SOURCES]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """A page with every explorer's cell, run. In its kernel, `made` holds the explorers by name."""
    chromium, folder = find_chromium(), tmp_path_factory.mktemp("notebooks")
    sources = ["made = {}"]
    for name, source in zip(NAMES, SOURCES, strict=True):
        sources += [source, f"made[{name!r}] = explorer"]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    book = nbformat.v4.new_notebook(metadata=kernel, cells=[nbformat.v4.new_code_cell(source) for source in sources])
    (folder / "explorers.ipynb").write_text(nbformat.writes(book), encoding="utf-8")
    with (
        jupyterlab(folder, tmp_path_factory.mktemp("lab")) as lab,
        notebook_page(lab, chromium, "explorers.ipynb") as page,
    ):
        page.run_all(120)
        yield page


def test_every_explorer_is_tried():
    assert sorted(NAMES) == sorted(set(explorers.__all__) - {"Explorer"})


@pytest.mark.parametrize("name", NAMES)
def test_every_control_works_from_the_keyboard(notebook, name):
    cell = 1 + 2 * NAMES.index(name)
    notebook.page.wait_for_function(BOTH_SHOWN, arg=cell)
    notebook.in_kernel(f"explorer = made[{name!r}]")
    live, static = (ShownExplorer(notebook, cell, number) for number in range(2))
    first = live.check_agreement()
    assert static.seen() == first and not static.root.is_visible()  # it would be the same thing twice
    for index in range(live.controls.count()):
        live.move(index)
    live.press_presets()
    live.flood()
    live.check_agreement()
    notebook.in_kernel("explorer.state = explorer.default")
    assert live.check_agreement() == first == static.seen()  # the static version has stayed as it was
    assert notebook.page.evaluate(ACTIVE_CELL) == cell, "a key went to another cell"
    assert notebook.problems == []
    live.root.evaluate("host => host.remove()")  # as where a notebook is opened again
    assert ShownExplorer(notebook, cell, 0).root.is_visible()


class ShownExplorer:
    """An explorer in the page, the live one before the static one, beside `explorer` in the kernel."""

    def __init__(self, notebook: NotebookPage, cell: int, number: int):
        self.notebook, self.page = notebook, notebook.page
        self.root = notebook.page.locator(".jp-Cell").nth(cell).locator(".lorabook-explorer").nth(number)
        self.controls = self.root.locator(".control")

    def seen(self) -> dict:
        """What the page shows: title, readout, error."""
        return self.root.evaluate(SEEN)

    def kernel(self) -> dict:
        """What the pure function says of the state that the kernel holds."""
        return json.loads(self.notebook.in_kernel(SAID))

    def check_agreement(self) -> dict:
        """Wait until the page shows what the kernel says, whose message may still be on its way; return it."""
        for _ in range(50):
            seen, said = self.seen(), self.kernel()
            if seen == said:
                break
            self.page.wait_for_timeout(100)
        assert seen == said
        return said

    def move(self, index: int) -> None:
        """Change the control with a key in the first preset, where each changes something; the kernel follows."""
        if (presets := self.root.locator(".presets button")).count():
            presets.first.click()
        control = self.controls.nth(index)
        chosen, box = control.locator("input[type=radio]:checked"), control.locator("input[type=checkbox]")
        (chosen if chosen.count() else control.locator("input")).first.focus()
        for key in ("Space",) if box.count() else ("ArrowRight", "ArrowLeft", "ArrowLeft"):
            before = self.root.evaluate(DRAWN)
            self.page.keyboard.press(key)
            if self.root.evaluate(DRAWN) != before:
                self.check_agreement()
                return
        pytest.fail(f"no key moves control {index}, {control.inner_text()}")

    def press_presets(self) -> None:
        """Every preset's button with the space bar."""
        for button in reversed(self.root.locator(".presets button").all()):
            before = self.root.evaluate(DRAWN)
            button.focus()
            self.page.keyboard.press("Space")
            assert self.root.evaluate(DRAWN) != before
            self.check_agreement()

    def flood(self) -> None:
        """Forty moves of a slider with no pause between them."""
        self.root.locator("input[type=range]").first.focus()
        for key in ["ArrowLeft"] * 10 + ["ArrowRight"] * 20 + ["ArrowLeft"] * 10:
            self.page.keyboard.press(key)


BOTH_SHOWN = """cell => {
    const hosts = [...document.querySelectorAll('.jp-Cell')[cell].querySelectorAll('.lorabook-explorer')];
    return hosts.length === 2 && hosts.every(host => host.shadowRoot?.querySelector('svg'));
}"""
SEEN = """host => ({
    title: host.shadowRoot.querySelector('.title').textContent,
    readout: [...host.shadowRoot.querySelectorAll('.readout p')].map(line => line.textContent).join('\\n'),
    error: host.shadowRoot.querySelector('.error').textContent,
})"""
ACTIVE_CELL = "() => window.jupyterapp.shell.currentWidget.content.activeCellIndex"
DRAWN = "host => host.shadowRoot.querySelector('section').outerHTML"
SAID = """
import json
said = explorer.shown(explorer.state)
print(json.dumps({name: said.get(name, "") for name in ("title", "readout", "error")}))
"""
