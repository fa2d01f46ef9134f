"""Every explorer in JupyterLab, in a real browser, moved by the keyboard alone: what it shows is what the kernel says.

A reduced copy of each notebook with an explorer is run: the set-up cell and the explorer.
"""

import json
import re

import pytest

from lorabook.workbook import explorers
from scripts.notebooks.browser import NotebookPage, copy_blank, find_chromium, jupyterlab, notebook_page
from tests.kit.notebooks import NOTEBOOKS, cells

pytestmark = pytest.mark.browser
MADE = re.compile(r"^(\w+) = (\w+Explorer)\(\)$", re.MULTILINE)


WITH_EXPLORER = [path for path in NOTEBOOKS if any(MADE.search(cell["source"]) for cell in cells(path))]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    find_chromium()
    folder = tmp_path_factory.mktemp("notebooks")
    for path in WITH_EXPLORER:
        first = next(index for index, cell in enumerate(cells(path)) if cell["cell_type"] == "code")
        copy_blank(path, folder, lambda i, cell, first=first: i == first or bool(MADE.search("".join(cell["source"]))))
    with jupyterlab(folder, tmp_path_factory.mktemp("lab")) as running:
        yield running


def test_every_explorer_is_tried():
    found = [MADE.findall(cell["source"]) for path in WITH_EXPLORER for cell in cells(path)]
    tried = {name for pairs in found for variable, name in pairs if variable == "explorer"}
    assert tried == set(explorers.__all__) - {"Explorer"}


@pytest.mark.parametrize("name", [path.name for path in WITH_EXPLORER])
def test_every_control_works_from_the_keyboard(lab, name):
    with notebook_page(lab, find_chromium(), name) as notebook:
        notebook.run_all(90)
        notebook.page.wait_for_function(BOTH_SHOWN)
        live, static = (ShownExplorer(notebook, number) for number in range(2))
        first = live.check_agreement()
        assert static.seen() == first and not static.root.is_visible()  # it would be the same thing twice
        for index in range(live.controls.count()):
            live.move(index)
        live.press_presets()
        live.flood()
        live.check_agreement()
        notebook.in_kernel("explorer.state = explorer.default")
        assert live.check_agreement() == first == static.seen()  # the static version has stayed as it was
        assert notebook.page.evaluate(ACTIVE_CELL) == 1, "a key went to another cell"
        assert notebook.problems == []
        live.root.evaluate("host => host.remove()")  # as where a notebook is opened again
        assert ShownExplorer(notebook, 0).root.is_visible()


class ShownExplorer:
    """An explorer in the page, the live one before the static one, beside `explorer` in the kernel."""

    def __init__(self, notebook: NotebookPage, number: int):
        self.notebook, self.page = notebook, notebook.page
        self.root = notebook.page.locator(".lorabook-explorer").nth(number)
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


BOTH_SHOWN = """() => {
    const hosts = [...document.querySelectorAll('.lorabook-explorer')];
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
