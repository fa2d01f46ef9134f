"""Every explorer in JupyterLab, in a real browser, moved by the keyboard alone.

The notebooks are found by the tag `explorer` on cells. A reduced copy is run: the set-up cell, the cells tagged
`explorer-needs`, and the explorers.
"""

import json

import pytest

from lorabook.workbook import explorers
from scripts.notebooks.browser import NotebookPage, copy_blank, find_chromium, jupyterlab, notebook_page
from tests.kit.notebooks import NOTEBOOKS, cells

pytestmark = pytest.mark.browser


def tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


WITH_EXPLORER = [path for path in NOTEBOOKS if any("explorer" in tags(cell) for cell in cells(path))]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    find_chromium()
    folder = tmp_path_factory.mktemp("notebooks")
    for path in WITH_EXPLORER:
        first = next(index for index, cell in enumerate(cells(path)) if cell["cell_type"] == "code")

        def kept(index: int, cell: dict, first: int = first) -> bool:
            return index == first or not {"explorer", "explorer-needs"}.isdisjoint(tags(cell))

        copy_blank(path, folder, kept)
    with jupyterlab(folder, tmp_path_factory.mktemp("lab")) as running:
        yield running


def test_every_explorer_is_tried():
    tried = "".join(cell["source"] for path in WITH_EXPLORER for cell in cells(path) if "explorer" in tags(cell))
    assert [name for name in explorers.__all__ if name != "Explorer" and f"{name}()" not in tried] == []


@pytest.mark.parametrize("name", [path.name for path in WITH_EXPLORER])
def test_every_control_works_from_the_keyboard(lab, name):
    with notebook_page(lab, find_chromium(), name) as notebook:
        notebook.run_all(90)
        explorers = [ShownExplorer(notebook, found) for found in notebook.page.evaluate(SHOWN)]
        assert explorers, "no explorer is shown"
        for explorer in explorers:
            explorer.check_agreement()
            for index in range(explorer.controls.count()):
                explorer.move(index)
                explorer.try_all_boxes(index)
            explorer.press_presets()
            explorer.flood()
            explorer.check_agreement()
        notebook.page.set_viewport_size({"width": 1000, "height": 1000})
        for explorer in explorers:
            explorer.check_narrow()
        assert notebook.problems == []


class ShownExplorer:
    """An explorer in the page (`root`) and the same one in the kernel (`model`)."""

    def __init__(self, notebook: NotebookPage, found: dict):
        self.notebook, self.page, self.model = notebook, notebook.page, found["model"]
        self.root = notebook.page.locator(".jp-Cell").nth(found["cell"]).locator(".lorabook-explorer")
        self.controls = self.root.locator(".lorabook-control")

    def check_narrow(self) -> None:
        """Less room than the picture is wide: it shrinks whole, and no control or number is cut off."""
        self.page.wait_for_timeout(300)
        assert self.root.evaluate(CUT_OFF) == []

    def seen(self) -> dict:
        """What the page shows: the controls' values, the readout, whether an error, the hash of the picture's bytes."""
        return self.root.evaluate(SEEN)

    def kernel(self) -> dict:
        """What the kernel holds, and what the pure function says of its state."""
        return json.loads(self.notebook.in_kernel(f"model = {self.model!r}\n{HELD}"))

    def check_agreement(self) -> dict:
        """Wait until the page shows what the kernel holds, and what the pure function says; return it.

        A key's message may still be on its way to the kernel, or the picture's on its way back: both sides are asked
        anew. The page has the new value of its control from the start, so the two cannot agree on the old state.
        """
        for _ in range(50):
            seen, held = self.seen(), self.kernel()
            if seen == held:
                break
            self.page.wait_for_timeout(100)
        assert seen == held
        return held

    def move(self, index: int) -> None:
        """Reach the control with the Tab key and change its value; readout and picture follow."""
        control, before = self.controls.nth(index), self.seen()
        if index == 0:
            control.locator(FOCUSABLE).first.focus()
        else:
            for _ in range(8):
                self.page.keyboard.press("Tab")
                if control.evaluate("control => control.contains(document.activeElement)"):
                    break
            else:
                pytest.fail(f"Tab does not reach control {index}, {before['values'][index]}")
        for key in KEYS[control.evaluate(KIND)]:
            self.page.keyboard.press(key)
            if self.seen()["values"][index] != before["values"][index]:
                after = self.check_agreement()
                if not after["error"]:
                    break
        else:
            pytest.fail(f"no key moves control {index}, {before['values'][index]}")
        assert after["readout"] != before["readout"] and after["picture"] != before["picture"]

    def try_all_boxes(self, index: int) -> None:
        """In a group of check boxes, reach those after the first with the Tab key and change each."""
        boxes = self.controls.nth(index).locator("input[type=checkbox]")
        for place in range(1, boxes.count()):
            before = self.seen()
            self.page.keyboard.press("Tab")
            self.page.keyboard.press("Space")
            assert boxes.nth(place).evaluate("box => box === document.activeElement")
            after = self.check_agreement()
            assert after["values"][index] != before["values"][index] and after["readout"] != before["readout"]

    def press_presets(self) -> None:
        """Every preset's button with the space bar. They differ, so each must change the readout."""
        for index in range(self.root.locator("button.widget-button").count()):
            before = self.seen()["readout"]
            self.root.locator("button.widget-button").nth(index).focus()
            self.page.keyboard.press("Space")
            for _ in range(100):
                if self.seen()["readout"] != before:
                    break
                self.page.wait_for_timeout(50)
            assert self.check_agreement()["readout"] != before

    def flood(self) -> None:
        """Forty moves of a slider with no pause between them."""
        handle = self.root.locator(".noUi-handle").first
        if handle.count():
            handle.focus()
            for key in ["ArrowLeft"] * 10 + ["ArrowRight"] * 20 + ["ArrowLeft"] * 10:
                self.page.keyboard.press(key)


# What moves a control that has the focus. The notebook takes the arrow keys from a list or from radio buttons in an
# output, and goes to another cell with them: such controls cannot be used from the keyboard.
KEYS = {
    "slider": ("ArrowRight", "ArrowLeft", "ArrowLeft"),
    "buttons": ("Space", "Tab", "Space"),
    "checkbox": ("Space",),
}
FOCUSABLE = ".noUi-handle, button, input"
KIND = """control => control.querySelector('.noUi-handle') ? 'slider' : control.querySelector('button') ? 'buttons' :
    control.querySelector('input[type=checkbox]') ? 'checkbox' : 'unknown'"""
SHOWN = """() => [...window.jupyterapp.shell.currentWidget.content.model.cells].flatMap((cell, index) =>
    cell.type !== 'code' ? [] : cell.sharedModel.outputs
        .map(output => output.data?.['application/vnd.jupyter.widget-view+json']?.model_id)
        .filter((id, i) => id && cell.sharedModel.metadata.tags?.includes('explorer'))
        .map(model => ({cell: index, model})))"""
SEEN = """async root => {
    const source = root.querySelector('img').src;
    const bytes = source.startsWith('blob:') ? await (await fetch(source)).arrayBuffer() : new ArrayBuffer(0);
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    return {
        values: [...root.querySelectorAll('.lorabook-control')].map(control => {
            const boxes = [...control.querySelectorAll('input[type=checkbox]')];
            const states = boxes.map(box => [box.parentElement.textContent.trim(), box.checked]);
            const text = control.querySelector('.widget-readout, button.mod-active')?.textContent;
            return states.length > 1 ? states : states.length ? states[0][1] : text?.replaceAll('\\u00a0', ' ');
        }),
        readout: root.querySelector('.lorabook-readout').textContent,
        error: root.querySelector('.lorabook-error').innerText.trim(),
        picture: [...hash].map(byte => byte.toString(16).padStart(2, '0')).join(''),
    };
}"""
HELD = """
import gc
import hashlib
import html
import json
import re
from lorabook.workbook.explorers import Explorer
found = globals().setdefault("found", {})
if model not in found:
    (found[model],) = [e for e in gc.get_objects() if issubclass(type(e), Explorer) and e.model_id == model]
explorer = found[model]
failed = explorer.error.layout.display is None
def shown(control):
    if hasattr(control, "boxes"):
        return [[box.description, box.value] for box in control.boxes.children]
    if hasattr(control, "readout_format"):
        return format(control.value, control.readout_format)
    return getattr(control, "label", control.value)
print(json.dumps({
    "values": [shown(control) for control in explorer.controls.values()],
    "readout": "" if failed else explorer.readout(explorer.state),
    "error": html.unescape(re.sub("<[^>]*>", "", explorer.error.value)) if failed else "",
    "picture": hashlib.sha256(explorer.picture.value).hexdigest(),
}))
"""
CUT_OFF = """root => {
    const image = root.querySelector('img'), shown = image.getBoundingClientRect();
    const ratio = (shown.width / shown.height) / (image.naturalWidth / image.naturalHeight);
    const right = root.getBoundingClientRect().right + 1;
    const cut = [image, ...root.querySelectorAll('.lorabook-control, .widget-readout')].filter(part =>
        part.getBoundingClientRect().right > right || (part !== image && part.scrollWidth > part.clientWidth + 1));
    const found = cut.map(part => `${part.className}: ${part.textContent.trim()}`);
    return Math.abs(ratio - 1) < 0.02 ? found : [...found, `picture of ${shown.width} x ${shown.height}`];
}"""
